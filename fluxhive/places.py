"""Where files lie on this machine: configuration, state, tokens, and how they are written.

Standard library only and cheap to import; reads the environment and the file system, decides
nothing else. Called by the command line, the agent and the server.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

from fluxhive import env
from fluxhive.core.errors import Conflict, InputError

# File systems that several machines see at once. Advisory locks, SQLite and hole punching are not
# to be relied on there (sqlite.org/faq.html, question 5).
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "afs",
        "9p",
        "orangefs",
        "pvfs2",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.ceph",
        "fuse.s3fs",
    }
)
PRIVATE_DIR_MODE = 0o700
PRIVATE_FILE_MODE = 0o600


def config_path() -> Path:
    """The configuration file; it need not exist. The same rule on every system."""
    chosen = env.get(env.CONFIG)
    if chosen:
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CONFIG_HOME") or ""
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "fluxhive" / "config.toml"


def state_root() -> Path:
    """The directory under which server and agent keep their state. Not made by this call."""
    chosen = env.get(env.STATE_DIR)
    if chosen:
        return Path(chosen).expanduser().absolute()
    usual = _usual_state_root()
    if file_system_type(usual) in NETWORK_FILE_SYSTEMS:
        return Path("/var/tmp") / f"fluxhive-{os.getuid()}"
    return usual


def moved_off_network() -> bool:
    """True when the state lies in /var/tmp because the home is on a network file system."""
    return env.get(env.STATE_DIR) is None and state_root() != _usual_state_root()


def server_dir() -> Path:
    """The server's state directory; made (0700) when absent."""
    return _ours(state_root(), "server")


def agent_dir() -> Path:
    """This machine's agent's state directory; made (0700) when absent."""
    return _ours(state_root(), "agent", machine_id())


def machine_id() -> str:
    """Twelve hex digits that stay the same for this machine.

    Made from the system's machine id, which must not be shown itself (machine-id(5)), and the host
    name, since cloned images often share the former.
    """
    seed = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            seed = Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if seed:
            break
    text = f"fluxhive-machine:{seed}:{socket.gethostname()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def private_dir(path: Path, *, may_be_link: bool = True) -> Path:
    """Makes the directory with mode 0700 when absent, and returns it.

    Raises Conflict when it belongs to somebody else, or is a link where none is allowed: in a
    directory that all may write, such as /var/tmp, either may be an attack.
    """
    try:
        path.mkdir(mode=PRIVATE_DIR_MODE, parents=True, exist_ok=True)
        found = path.stat() if may_be_link else path.lstat()
    except OSError as error:
        raise Conflict(
            f"cannot make the directory `{path}`: {error.strerror}",
            hint=f"set {env.STATE_DIR.name} to a directory that you may write",
        ) from error
    is_link = stat.S_ISLNK(found.st_mode)
    if is_link or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise Conflict(
            f"the directory `{path}` {'is a link' if is_link else 'belongs to another user'}",
            hint=f"set {env.STATE_DIR.name} to a directory of your own",
        )
    return path


def write_private(path: Path, data: bytes) -> None:
    """Replaces the file as a whole with `data`, mode 0600; a reader sees the old or the new one."""
    target = path.resolve()
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, PRIVATE_FILE_MODE)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


class Up(NamedTuple):
    """What runs on this machine, for the commands that come after."""

    url: str
    server_pid: int
    agent_pid: int | None = None
    server_id: str = ""
    """What the server's health says about itself; empty when not noted."""


def write_up(up: Up) -> None:
    """Notes what runs here in up.json of the server's state directory."""
    write_private(server_dir() / "up.json", json.dumps(up._asdict()).encode() + b"\n")


def read_up() -> Up | None:
    """What was noted last; None when nothing was, or it cannot be read."""
    try:
        found = json.loads((state_root() / "server" / "up.json").read_bytes())
        agent_pid = found.get("agent_pid")
        return Up(
            url=str(found["url"]),
            server_pid=int(found["server_pid"]),
            agent_pid=None if agent_pid is None else int(agent_pid),
            server_id=str(found.get("server_id", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def forget_up() -> None:
    """Removes up.json; nothing happens when there is none."""
    (state_root() / "server" / "up.json").unlink(missing_ok=True)


def admin_token_path() -> Path:
    """Where the server leaves the local administrator's token (0600, one line)."""
    return state_root() / "server" / "admin-token"


def read_admin_token() -> str | None:
    """The local administrator's token; None when there is none here that we may read."""
    try:
        return admin_token_path().read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def read_login(url: str) -> str | None:
    """The token that `fluxhive login` kept for this server; None when there is none."""
    return _logins().get(url)


def write_login(url: str, token: str | None) -> Path:
    """Keeps the token for this server (None: forgets it), and returns the file it went to."""
    logins = _logins()
    logins.pop(url, None)
    if token is not None:
        logins[url] = token
    path = _logins_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, json.dumps(logins, indent=1).encode() + b"\n")
    return path


def file_system_type(path: Path) -> str | None:
    """Type of the file system that holds the path (or would); None where that cannot be told."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return mount_type(table, os.path.realpath(path))


def mount_type(mountinfo: str, path: str) -> str | None:
    """Type of the mount that holds `path`, from the text of /proc/self/mountinfo (proc(5))."""
    best, found = -1, None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or not kind:
            continue
        point = fields[4].replace("\\040", " ").rstrip("/")
        # Later lines cover earlier ones on the same point, hence >=.
        if (path == point or path.startswith(point + "/")) and len(point) >= best:
            best, found = len(point), kind[0]
    return found


def _usual_state_root() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "fluxhive"


def _ours(root: Path, *parts: str) -> Path:
    path = private_dir(root, may_be_link=not moved_off_network())
    for part in parts:
        path = private_dir(path / part)
    return path


def _logins_path() -> Path:
    return config_path().parent / "tokens.json"


def _logins() -> dict[str, str]:
    path = _logins_path()
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            f"cannot read `{path}`: {error.strerror}", hint="check who owns it and its mode"
        ) from error
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InputError(
            f"`{path}` is not a list of tokens", hint=f"remove it and log in again: rm {path}"
        )
    return {str(url): str(token) for url, token in found.items()}
