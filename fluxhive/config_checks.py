"""What each setting may be: a check gives the value to use, or raises ValueError in words.

The words follow the key's name in the message (`config.py`): "`label` from … must be text".
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fluxhive.core.node import RENDEZVOUS_PORTS
from fluxhive.core.policy import POLICIES

TEXT_LENGTH_MAX = 4096
LABEL_LENGTH_MAX = 200
HEARTBEAT_S_MIN, HEARTBEAT_S_MAX, HEARTBEAT_S_DEFAULT = 1.0, 5.0, 2.0
CPUS_MAX = 65_536
DAYS_MAX = 36_500
#: Of a name in the DNS (RFC 1035).
ADDRESS_LENGTH_MAX = 253
PORTS_DEFAULT = "-".join(map(str, RENDEZVOUS_PORTS))
GIB_MIN, GIB_MAX = 0.001, 1_000_000
TAGS_MAX = 50
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,63}")
SHARING_OFF = "off"
SHARING_MIN, SHARING_MAX = 2, 8
#: What to write, for keys whose error does not say it.
EXAMPLES = {
    "control_base_url": "for example http://127.0.0.1:8001",
    "user.email": "for example ada@example.org",
    "agent.heartbeat_s": f"for example {HEARTBEAT_S_DEFAULT:g}",
    "agent.max_cpus": "for example 8",
    "agent.allow_root": "`true` or `false`",
    "agent.task_user": "for example nobody",
    "agent.address": "for example 192.168.1.7",
    "agent.rendezvous_ports": f"for example {PORTS_DEFAULT}",
    "agent.tags": "for example a100,nvme",
    "agent.sharing": "for example off, or 4",
    "server.keep_logs_gib": "for example 50",
    "server.keep_logs_days": "for example 30",
    "server.gpu_reading_s": "for example 1",
    "server.policy": "for example hive",
}


def url(value: object) -> str:
    """The address without a slash at its end. Raises ValueError in words."""
    text = text_of(value).rstrip("/")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is not an address: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with `http://` or `https://`")
    if not parts.hostname or port == 0:
        raise ValueError("names no host" if not parts.hostname else "has port 0")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must hold nothing but host, port and path")
    return text


def text_of(value: object) -> str:
    """Text without control characters."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if not value.strip() or len(value) > TEXT_LENGTH_MAX:
        raise ValueError(f"must have 1 to {TEXT_LENGTH_MAX} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not contain control characters")
    return value


def label(value: object) -> str:
    """A name for people."""
    text = text_of(value).strip()
    if len(text) > LABEL_LENGTH_MAX:
        raise ValueError(f"must have at most {LABEL_LENGTH_MAX} characters")
    return text


def email(value: object) -> str:
    """An address, looked at superficially."""
    text = text_of(value).strip()
    name, at, domain = text.partition("@")
    if not (name and at and domain) or " " in text:
        raise ValueError("is not an e-mail address")
    return text


def heartbeat_s(value: object) -> float:
    """Seconds between two heartbeats."""
    seconds = number(value)
    if not HEARTBEAT_S_MIN <= seconds <= HEARTBEAT_S_MAX:
        raise ValueError(f"must be {HEARTBEAT_S_MIN:g} to {HEARTBEAT_S_MAX:g} seconds")
    return seconds


def gpu_reading_s(value: object) -> float:
    """Seconds between two readings of a node's GPUs."""
    seconds = number(value)
    if not 1 <= seconds <= 5:
        raise ValueError("must be 1 to 5 seconds")
    return seconds


def cpus(value: object) -> int:
    """A number of CPUs."""
    count = number(value)
    if count != int(count) or not 1 <= count <= CPUS_MAX:
        raise ValueError(f"must be a whole number from 1 to {CPUS_MAX}")
    return int(count)


def address(value: object) -> str:
    """A host's name or number, without a port."""
    text = text_of(value).strip()
    if len(text) > ADDRESS_LENGTH_MAX or any(character in " /@[]," for character in text):
        raise ValueError("must be a name or number of a host, without a port")
    return text


def tags(value: object) -> str:
    """Tags separated by commas, each once, in the order given."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    found = split_tags(value)
    if len(found) > TAGS_MAX:
        raise ValueError(f"must be at most {TAGS_MAX} tags")
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise ValueError(
                "must be tags of letters, digits and . _ : / = + -, separated by commas, each at "
                "most 64 characters long"
            )
    return ",".join(found)


def split_tags(text: str) -> tuple[str, ...]:
    """The tags in a text that passed."""
    return tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))


def sharing(value: object) -> str:
    """`off`, or how many may share, as text."""
    # A file's unquoted 4 is a number.
    text = str(value).strip().lower() if isinstance(value, int | str) else ""
    if isinstance(value, bool) or not (
        text == SHARING_OFF or (text.isascii() and text.isdigit() and len(text) == 1)
    ):
        raise ValueError(f"must be `{SHARING_OFF}`, or {SHARING_MIN} to {SHARING_MAX}")
    if text != SHARING_OFF and not SHARING_MIN <= int(text) <= SHARING_MAX:
        raise ValueError(f"must be `{SHARING_OFF}`, or {SHARING_MIN} to {SHARING_MAX}")
    return text


def sharing_limit(text: str | None) -> int | None:
    """How many may be on one GPU at once, from a text that passed; None: as the hive says."""
    if text is None:
        return None
    return 1 if text == SHARING_OFF else int(text)


def policy(value: object) -> str:
    """The name of a policy of the core."""
    if not isinstance(value, str) or value not in POLICIES:
        raise ValueError(f"must be one of {', '.join(POLICIES)}")
    return value


def ports(value: object) -> str:
    """A range of ports, ``FIRST-LAST``."""
    text = text_of(value).strip()
    first_to_last(text)
    return text


def first_to_last(text: str) -> tuple[int, int]:
    """The ends of a range of ports. Raises ValueError in words."""
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("must be a range of ports, first and last")
    first, last = int(parts[0][:6]), int(parts[1][:6])
    if not 1024 <= first <= last <= 65_535:
        raise ValueError("must begin at 1024 or above, and end at 65535 or below")
    return first, last


def truth(value: object) -> bool:
    """True or false."""
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in known:
        return known[value.strip().lower()]
    raise ValueError("must be `true` or `false`")


def number(value: object) -> float:
    """Any number that is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if number != number or abs(number) > 1e12:
        raise ValueError("must be a number")
    return number


def days(value: object) -> float:
    """Days, at least one hour."""
    found = number(value)
    if not 1 / 24 <= found <= DAYS_MAX:
        raise ValueError(f"must be an hour (0.042) to {DAYS_MAX} days")
    return found


def gib(value: object) -> float:
    """GiB, with a fraction where wanted."""
    found = number(value)
    if not GIB_MIN <= found <= GIB_MAX:
        raise ValueError(f"must be {GIB_MIN:g} to {GIB_MAX} GiB")
    return found


CONTAINER_ENGINES = ("auto", "off", "podman", "docker", "apptainer", "bubblewrap")


def container_engine(value: object) -> str:
    """The word. Raises ValueError in words."""
    if value not in CONTAINER_ENGINES:
        raise ValueError(f"must be one of {', '.join(CONTAINER_ENGINES)}")
    return str(value)


def container_mounts(value: object) -> str:
    """Absolute directories, separated by commas. Raises ValueError in words."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    for part in filter(None, (each.strip() for each in value.split(","))):
        path = part.removesuffix(":ro")
        if not path.startswith("/") or ":" in path:
            raise ValueError(f"`{part}` is not an absolute directory, or one with `:ro` behind it")
        if path.rstrip("/") == "":
            raise ValueError("`/` is everything: name what tasks shall see")
    return value
