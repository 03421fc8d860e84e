"""What an author writes about a task. Checked in spec_check.py; edits make another."""

from __future__ import annotations

from enum import Enum

from msgspec import field

from .array import ArraySpec
from .code import CodeSnapshot
from .container import Mount
from .dependency import Dependency
from .request import Request
from .values import Ms, Value


class Priority(Enum):
    """How a task stands in the queue against others; equal ones go by order of submission."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"

    @property
    def rank(self) -> int:
        """Lower goes first."""
        return _RANKS[self]


_RANKS = {Priority.URGENT: 0, Priority.HIGH: 1, Priority.NORMAL: 2, Priority.LOW: 3}
DEFAULT_GRACE_MS: Ms = 30_000
DEFAULT_RESTARTS = 5
DEFAULT_BACKOFF_MS: Ms = 1_000
DEFAULT_MIN_RUN_MS: Ms = 10 * 60_000
#: What a task may be told to save its work with.
CHECKPOINT_SIGNALS = ("USR1", "USR2", "INT", "HUP", "TERM")
#: ``--failover`` of tasks that ask for retries and say nothing else.
RETRY_FAILOVER_MS: Ms = 30 * 60_000


class ExecutorKind(Enum):
    """How the command is read."""

    #: ``command`` has one element, a line for ``sh -c``.
    SHELL = "shell"
    #: ``command`` is executed as it is: program and arguments.
    EXEC = "exec"
    #: ``command`` is what Python is given: a script or ``-m module``, and arguments.
    PYTHON = "python"
    #: The same for each of several processes that find each other, started by torch's launcher.
    TORCHRUN = "torchrun"


class SecretForm(Enum):
    """How a task is given a secret of its owner."""

    #: The variable of its name holds it.
    VARIABLE = "variable"
    #: The variable of its name holds the path of a file with it, which only the task may read.
    FILE = "file"


class OnOom(Enum):
    """What follows when a task runs out of GPU memory by its own doing."""

    #: It is tried again with more (oom_repair.py).
    GROW = "grow"
    #: It fails.
    FAIL = "fail"


class TaskSpec(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the author wrote; never changes. Checked by ``spec_check.check_spec``."""

    command: tuple[str, ...]
    executor: ExecutorKind = ExecutorKind.EXEC
    name: str = ""
    request: Request = Request()
    env: dict[str, str] = field(default_factory=dict)
    #: Names of its owner's secrets that it is given, and how.
    secrets: dict[str, SecretForm] = field(default_factory=dict)
    #: Its code as it was at ``submit``: each attempt gets a fresh copy.
    code: CodeSnapshot | None = None
    #: Image of the container that it runs in; None: in none.
    image: str | None = None
    #: What of the node it sees in its container, as far as the node allows it.
    mounts: tuple[Mount, ...] = ()
    #: Directory that must exist on the node; with ``code`` it may be one of that, not from the
    #: root on. None: the code's own directory, or the agent's home directory.
    workdir: str | None = None
    #: Prefix of a virtual environment, put in front of PATH where it exists on the node.
    venv: str | None = None
    #: Interpreter of a ``python`` or ``torchrun`` task: path, environment's directory,
    #: ``conda:NAME`` or ``uv``. None: ``python3`` on the task's PATH.
    python: str | None = None
    priority: Priority = Priority.NORMAL
    #: How many failures of its own are tried again.
    retry: int = 0
    #: How many ends that were not its fault are tried again (not counted as retries).
    restarts: int = DEFAULT_RESTARTS
    #: First pause before a retry; doubles each time, at most five minutes.
    backoff_ms: Ms = DEFAULT_BACKOFF_MS
    #: Started zero or one time: neither retries nor restarts.
    at_most_once: bool = False
    time_limit_ms: Ms | None = None
    #: From the polite signal to the kill.
    grace_ms: Ms = DEFAULT_GRACE_MS
    #: How long it runs on without its node's contact before it may run elsewhere. None: for ever.
    failover_ms: Ms | None = None
    #: stdout and stderr in one stream, in the order they were written.
    merge_output: bool = False
    #: Processes of a ``torchrun`` task on each node. None: one for each GPU, or one.
    nproc_per_node: int | None = None
    #: Whose share and quota it counts against. Empty: the owner's own project, called as they are.
    project: str = ""
    #: Held until this hive time (Unix time). None: it may start at once.
    begin_at_ms: Ms | None = None
    #: Held until these tasks have ended like this; cancelled when one cannot any more.
    after: tuple[Dependency, ...] = ()
    #: Which failures of its own are tried again (retry_cause.py); empty: all.
    retry_on: tuple[str, ...] = ()
    #: Not tried again where it failed, as long as another node could hold it.
    retry_elsewhere: bool = False
    #: May be stopped for an urgent task and put back, where the hive preempts at all.
    preemptible: bool = False
    #: Not before it has run so long.
    min_run_ms: Ms = DEFAULT_MIN_RUN_MS
    #: Sent in place of SIGTERM when it is preempted: ``USR1``, so that it saves its work.
    checkpoint_signal: str | None = None
    #: Many tasks alike in one. None: a single task.
    array: ArraySpec | None = None
    #: Name of the Python function that it calls and whose result it gives back; empty: a command.
    function: str = ""
    #: What follows when it runs out of GPU memory by its own doing.
    oom: OnOom = OnOom.GROW
