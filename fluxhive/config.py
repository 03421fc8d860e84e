"""Settings: what holds, and where each value came from.

A flag goes before an environment variable, that before the configuration file, that before what
runs on this machine, and that before the default. The file is TOML in
``~/.config/fluxhive/config.toml``; it is read whole and strictly, since a mistyped key that is
silently ignored costs an evening. `fluxhive config` edits it and keeps its comments.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fluxhive import config_checks as check
from fluxhive import config_file, env, places
from fluxhive.core.errors import InputError

DEFAULT_PORT = 8001
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"

Plain = str | int | float
"""What a key of the file can hold."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an agent or a client needs to know, each value checked."""

    control_base_url: str = DEFAULT_URL
    """Without a slash at its end."""
    username: str | None = None
    email: str | None = None
    password: str | None = None
    token: str | None = None
    """What to send as bearer; None: log in with name and password, or not at all."""
    label: str | None = None
    """The node's human name; None: the name of the machine."""
    ca_file: str | None = None
    """PEM file to trust instead of the system's certificates."""
    heartbeat_s: float = check.HEARTBEAT_S_DEFAULT
    max_cpus: int | None = None
    """How many CPUs this node offers; None: all it has."""
    address: str | None = None
    """Where other nodes reach this one; None: at the address that the server sees."""
    rendezvous_ports: str = check.PORTS_DEFAULT
    """Ports at which the processes of a task may meet here, ``FIRST-LAST``."""
    tags: str = ""
    """What tasks can ask this node for, separated by commas."""
    sharing: str | None = None
    """How many tasks may share a GPU here, `off` or 2 to 8; None: as the hive says."""
    container_engine: str = "auto"
    """What runs tasks in containers: `auto` takes the first of podman, docker, apptainer here."""
    container_mounts: str = ""
    """Directories that containers may see, separated by commas; `:ro` behind one: only to read."""
    allow_root: bool = False
    """True: an agent of root may start, and runs every task as root."""
    task_user: str | None = None  # as whom an agent of root runs tasks
    log_backlog_gib: float = 8.0
    """Output of one stream that a node keeps while the server does not take it."""
    log_quota_gib: float = 10.0
    """Output of one stream that the server keeps."""
    keep_tasks_days: float = 90.0
    keep_logs_days: float = 30.0
    """… after a task's end."""
    keep_logs_gib: float = 50.0
    """Of all tasks that have ended; the oldest go first."""
    preemption: bool = False
    """Whether tasks that allow it give way to urgent ones."""
    policy: str = "hive"
    """By which of the named policies (core/policy.py) the server decides."""
    gpu_reading_s: float = 1.0
    """Between two readings of a node's GPUs; the server tells its nodes."""
    origins: dict[str, str] = msgspec.field(default_factory=dict)
    """Key -> where its value came from, in words."""


class ServerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `fluxhive server` was started with."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any free one."""
    state_dir: str
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure_http: bool = False
    """True: serve plain HTTP beyond loopback, because a person said so."""
    log_level: str = "info"
    log_quota_gib: float = 10.0
    keep_tasks_days: float = 90.0
    keep_logs_days: float = 30.0
    keep_logs_gib: float = 50.0
    gpu_reading_s: float = 1.0
    preemption: bool = False
    policy: str = "hive"


class Key(NamedTuple):
    """One key of the configuration file."""

    name: str
    field: str
    """The field of Settings that it fills."""
    meaning: str
    check: Callable[[object], Plain]
    """Gives the value to use; raises ValueError with the reason in words."""
    variable: env.EnvVar | None = None
    default: Plain | None = None
    is_secret: bool = False


class Value(NamedTuple):
    """A key's value, and where it came from."""

    value: Plain | None
    origin: str


KEYS: tuple[Key, ...] = (
    Key(
        "control_base_url",
        "control_base_url",
        "address of the control server",
        check.url,
        env.CONTROL_URL,
        DEFAULT_URL,
    ),
    Key("user.username", "username", "name to log in with", check.text_of, env.USERNAME),
    Key("user.email", "email", "e-mail address of the user", check.email),
    Key(
        "user.password",
        "password",
        "password to log in with; a token is better",
        check.text_of,
        env.PASSWORD,
        is_secret=True,
    ),
    Key(
        "user.token",
        "token",
        "token to use instead of name and password",
        check.text_of,
        env.TOKEN,
        is_secret=True,
    ),
    Key("label", "label", "human name of this node", check.label, env.LABEL),
    Key(
        "container.engine",
        "container_engine",
        "podman, docker, apptainer, bubblewrap, auto or off",
        check.container_engine,
        default="auto",
    ),
    Key(
        "container.mounts",
        "container_mounts",
        "directories that containers may see: /data:ro,/scratch",
        check.container_mounts,
        default="",
    ),
    Key("tls.ca_file", "ca_file", "certificates to trust (PEM file)", check.text_of, env.CA_FILE),
    Key(
        "agent.heartbeat_s",
        "heartbeat_s",
        "seconds between two heartbeats, 1 to 5",
        check.heartbeat_s,
        default=check.HEARTBEAT_S_DEFAULT,
    ),
    Key("agent.max_cpus", "max_cpus", "CPUs that this node offers; without it all", check.cpus),
    Key(
        "agent.address",
        "address",
        "address at which other nodes reach this one; without it the one that the server sees",
        check.address,
        env.ADDRESS,
    ),
    Key(
        "agent.rendezvous_ports",
        "rendezvous_ports",
        "ports at which the processes of a task may meet here",
        check.ports,
        default=check.PORTS_DEFAULT,
    ),
    Key(
        "agent.tags",
        "tags",
        "what tasks can ask this node for: a100,nvme",
        check.tags,
        env.TAGS,
        default="",
    ),
    Key(
        "agent.sharing",
        "sharing",
        "tasks that may share one GPU here: off, or 2 to 8; without it as the hive says",
        check.sharing,
        env.SHARING,
    ),
    Key(
        "agent.allow_root",
        "allow_root",
        "whether an agent of root may run tasks, as root",
        check.truth,
        default=False,
    ),
    Key("agent.task_user", "task_user", "as whom an agent of root runs tasks", check.text_of),
    Key(
        "agent.log_backlog_gib",
        "log_backlog_gib",
        "GiB of one output stream that the node keeps while the server does not take it",
        check.gib,
        default=8.0,
    ),
    Key(
        "server.log_quota_gib",
        "log_quota_gib",
        "GiB of one output stream that the server keeps; the rest is shown as a gap",
        check.gib,
        default=10.0,
    ),
    Key(
        "server.keep_tasks_days",
        "keep_tasks_days",
        "days that a task is kept after its end",
        check.days,
        default=90.0,
    ),
    Key(
        "server.keep_logs_days",
        "keep_logs_days",
        "days that output is kept after the end of its task",
        check.days,
        default=30.0,
    ),
    Key(
        "server.keep_logs_gib",
        "keep_logs_gib",
        "GiB of output of ended tasks that are kept; the oldest go first",
        check.gib,
        default=50.0,
    ),
    Key(
        "server.preemption",
        "preemption",
        "whether tasks that allow it make room for urgent ones",
        check.truth,
        default=False,
    ),
    Key(
        "server.policy",
        "policy",
        "how the server decides: hive, or fifo, easy, declared to compare",
        check.policy,
        default="hive",
    ),
    Key(
        "server.gpu_reading_s",
        "gpu_reading_s",
        "seconds between two readings of a node's GPUs, 1 to 5",
        check.gpu_reading_s,
        default=1.0,
    ),
)
BY_NAME: dict[str, Key] = {key.name: key for key in KEYS}


def load(flags: Mapping[str, Plain | None] | None = None) -> Settings:
    """The settings that hold now. `flags` maps names of keys to what the command line gave.

    Raises InputError when the file or a variable cannot be accepted.
    """
    values = resolve(flags)
    fields = {key.field: values[key.name].value for key in KEYS}
    origins = {name: value.origin for name, value in values.items()}
    return msgspec.convert({**fields, "origins": origins}, Settings)


def resolve(flags: Mapping[str, Plain | None] | None = None) -> dict[str, Value]:
    """Every key's value and origin, in the order of `KEYS`. Raises InputError."""
    given = flags or {}
    path = places.config_path()
    filed = _flat(config_file.read(path), path)
    values = {key.name: _resolve_one(key, given, filed, path) for key in KEYS}
    if values["user.token"].value is None:
        values["user.token"] = _kept_token(str(values["control_base_url"].value))
    return values


def _resolve_one(
    key: Key, flags: Mapping[str, Plain | None], filed: Mapping[str, object], path: Path
) -> Value:
    flag = flags.get(key.name)
    if flag is not None:
        return Value(_checked(key, flag, "the command line"), "command line")
    if key.variable is not None:
        text = env.get(key.variable)
        if text is not None:
            return Value(_checked(key, text, key.variable.name), f"{key.variable.name}")
    if key.name in filed:
        return Value(_checked(key, filed[key.name], str(path)), str(path))
    if key.name == "control_base_url":
        up = places.read_up()
        if up is not None:
            return Value(_checked(key, up.url, "up.json"), "the server on this machine")
    return Value(key.default, "default")


def key_named(name: str) -> Key:
    """The key of that name. Raises InputError with the closest match."""
    if name in BY_NAME:
        return BY_NAME[name]
    raise InputError(
        f"unknown configuration key: `{name}`",
        field=name,
        hint=_closest(name) or "list them: fluxhive config",
    )


def set_key(name: str, text: str) -> Plain:
    """Writes one key to the file, comments and order kept, and gives the value as stored.

    Raises InputError and leaves the file alone when key, value or the file itself is wrong.
    """
    key = key_named(name)
    value = _checked(key, text, "the command line")
    path = places.config_path()
    _flat(config_file.read(path), path)
    config_file.put(path, name, value)
    return value


def unset_key(name: str) -> bool:
    """Takes one key out of the file; False when it was not there.

    A key that FlowHive does not know can be taken out too: that is how a file is repaired.
    """
    if config_file.take_out(places.config_path(), name):
        return True
    key_named(name)
    return False


def _flat(document: Mapping[str, object], path: Path) -> dict[str, object]:
    """`{"user": {"email": x}}` as `{"user.email": x}`. Raises InputError at an unknown key."""
    groups = {name.partition(".")[0] for name in BY_NAME if "." in name}
    flat: dict[str, object] = {}
    for name, value in document.items():
        if name in groups and isinstance(value, dict):
            flat.update({f"{name}.{inner}": found for inner, found in value.items()})
        else:
            flat[name] = value
    for name in flat:
        if name not in BY_NAME:
            raise InputError(
                f"unknown key in `{path}`: `{name}`",
                field=name,
                hint=_closest(name) or f"take it out: fluxhive config --unset {name}",
            )
    return flat


def _checked(key: Key, value: object, source: str) -> Plain:
    try:
        return key.check(value)
    except ValueError as error:
        name = key.name
        shown = None if key.is_secret else value
        said = "" if key.is_secret else f": `{str(value)[:200]}`"
        raise InputError(
            f"`{name}` from {source} {error}{said}",
            field=name,
            value=shown,
            hint=check.EXAMPLES.get(key.name),
        ) from error


def _closest(name: str) -> str | None:
    tails = {known.rpartition(".")[2]: known for known in BY_NAME}
    tail = name.rpartition(".")[2]
    if tail in tails:
        return f"did you mean `{tails[tail]}`"
    found = difflib.get_close_matches(name, [*BY_NAME, *tails], n=1, cutoff=0.6)
    return f"did you mean `{tails.get(found[0], found[0])}`" if found else None


def _kept_token(url: str) -> Value:
    login = places.read_login(url)
    if login is not None:
        return Value(login, "fluxhive login")
    up = places.read_up()
    if up is not None and up.url.rstrip("/") == url:
        token = places.read_admin_token()
        if token is not None:
            return Value(token, "the server on this machine")
    return Value(None, "default")
