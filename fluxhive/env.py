"""Every environment variable that a person can set, once.

``docs/reference/environment.md`` is written from this table (``python -m fluxhive.env``), and a
test fails when a variable is read anywhere that does not stand here. What FlowHive *gives* a task
is named ``FLUXHIVE_*`` and is no business of this file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple


class EnvVar(NamedTuple):
    """One variable: its name, what it means, what holds without it, and since when it exists."""

    name: str
    meaning: str
    default: str
    since: str = "1.0"


CONTROL_URL = EnvVar(
    "FLOWHIVE_CONTROL_URL",
    "Address of the control server, `http://host:port` or `https://host`. Goes before "
    "`control_base_url` of the configuration file.",
    "the server that `fluxhive up` started here, else `http://127.0.0.1:8001`",
)
USERNAME = EnvVar(
    "FLOWHIVE_USERNAME",
    "Name to log in with. Goes before `user.username` of the configuration file.",
    "none",
)
PASSWORD = EnvVar(
    "FLOWHIVE_PASSWORD",
    "Password to log in with. Goes before `user.password` of the configuration file. A token is "
    "the better choice.",
    "none",
)
TOKEN = EnvVar(
    "FLOWHIVE_TOKEN",
    "Token to use instead of name and password. Goes before `user.token` of the configuration "
    "file and before the token that `fluxhive login` keeps.",
    "the token of the last `fluxhive login` at that server",
)
LABEL = EnvVar(
    "FLOWHIVE_LABEL",
    "Human name of this node. Goes before `label` of the configuration file.",
    "the name of the machine",
)
ADDRESS = EnvVar(
    "FLOWHIVE_ADDRESS",
    "Address at which other nodes reach this one, for tasks on several nodes. Goes before "
    "`agent.address` of the configuration file.",
    "the address that the server sees",
)
TAGS = EnvVar(
    "FLOWHIVE_TAGS",
    "What tasks can ask this node for with `--tag`, separated by commas: `a100,nvme`. Goes before "
    "`agent.tags` of the configuration file.",
    "none",
)
SHARING = EnvVar(
    "FLOWHIVE_SHARING",
    "How many tasks may share one of this node's GPUs: `off`, or 2 to 8. Goes before "
    "`agent.sharing` of the configuration file.",
    "as many as the hive's policy lets",
)
CA_FILE = EnvVar(
    "FLOWHIVE_CA_FILE",
    "File of certificates (PEM) to trust when the server speaks HTTPS. Goes before `tls.ca_file` "
    "of the configuration file.",
    "the system's certificates",
)
CONFIG = EnvVar(
    "FLOWHIVE_CONFIG",
    "Path of the configuration file.",
    "`$XDG_CONFIG_HOME/fluxhive/config.toml`, where `XDG_CONFIG_HOME` is `~/.config` when not set",
)
STATE_DIR = EnvVar(
    "FLOWHIVE_STATE_DIR",
    "Directory under which server and agent keep what they must remember.",
    "`$XDG_STATE_HOME/fluxhive` (`~/.local/state/fluxhive`), or `/var/tmp/fluxhive-<uid>` when "
    "that lies on a network file system",
)
FAKE_GPUS = EnvVar(
    "FLOWHIVE_FAKE_GPUS",
    "GPUs to pretend, for trying things without any: `4x80G`, or a directory of readings.",
    "none: the GPUs that the driver reports",
)
LOG_LEVEL = EnvVar(
    "FLOWHIVE_LOG_LEVEL",
    "How much server and agent write to their log: `debug`, `info`, `warning` or `error`.",
    "`info`",
)
PORTABLE = EnvVar(
    "FLOWHIVE_PORTABLE",
    "For developers: set to anything, an agent on Linux starts and ends tasks by the means that it "
    "has on macOS. Tasks are held less firmly so; see [systems](../systems.md).",
    "each system's own means",
)

ALL: tuple[EnvVar, ...] = (
    CONTROL_URL,
    USERNAME,
    PASSWORD,
    TOKEN,
    LABEL,
    ADDRESS,
    TAGS,
    SHARING,
    CA_FILE,
    CONFIG,
    STATE_DIR,
    FAKE_GPUS,
    LOG_LEVEL,
    PORTABLE,
)


def get(variable: EnvVar, environ: Mapping[str, str] | None = None) -> str | None:
    """The value of the variable; None when it is not set. Set to nothing counts as not set."""
    source = os.environ if environ is None else environ
    return source.get(variable.name) or None


def reference_page() -> str:
    """The Markdown page about all variables."""
    rows = "\n".join(f"| `{v.name}` | {v.meaning} | {v.default} | {v.since} |" for v in ALL)
    return (
        "# Environment variables\n\n"
        "<!-- Written by `python -m fluxhive.env` from fluxhive/env.py; edit it there. -->\n\n"
        "What you set is `FLOWHIVE_*`; what a task is given is `FLUXHIVE_*`. A flag of a command\n"
        "goes before its variable, a variable before the configuration file. A variable set to\n"
        "nothing counts as not set. `NO_COLOR` (any value) turns colours off.\n\n"
        "| variable | meaning | without it | since |\n"
        "|---|---|---|---|\n"
        f"{rows}\n"
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_page())
