"""Hydra's submitit launcher on a hive: ``hydra/launcher=submitit_fluxhive``.

Hydra takes plugins from the package ``hydra_plugins`` alone, so this lies beside ``fluxhive``.
Where Hydra's submitit launcher is not installed, there is nothing here.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("hydra") is not None and find_spec("hydra_plugins.hydra_submitit_launcher"):
    from hydra.core.config_store import ConfigStore

    from .launcher import FluxhiveQueueConf

    ConfigStore.instance().store(
        group="hydra/launcher",
        name="submitit_fluxhive",
        node=FluxhiveQueueConf(),
        provider="fluxhive_launcher",
    )
