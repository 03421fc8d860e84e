"""Bodies of the REST API, both ways. A task's spec itself is the core's ``TaskSpec``.

What people write refuses unknown fields (a typo must not be ignored); what the server answers may
grow. Errors are RFC 9457 problems.
"""

from __future__ import annotations

from enum import Enum

from fluxhive.core.array import MemberCounts
from fluxhive.core.dependency import Edit
from fluxhive.core.node import Drain, GpuReport, NodeState
from fluxhive.core.outcome import Outcome
from fluxhive.core.task import Priority, TaskSpec, TaskState
from fluxhive.core.values import Value

from .attempt_view import AttemptView as AttemptView
from .attempt_view import MemberView as MemberView
from .log_view import LogEvent as LogEvent
from .log_view import LogGapView as LogGapView
from .log_view import LogStreamView as LogStreamView

#: Largest request body.
BODY_BYTES = 8 * 1024 * 1024
#: Most tasks in one submission.
BATCH_MAX = 10_000


class Body(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of what people write."""


class Problem(Value, frozen=True, kw_only=True):
    """An error (RFC 9457, ``application/problem+json``)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    #: What to do about it.
    hint: str = ""
    #: The field that is wrong, in dots: ``request.gpus``.
    field: str = ""
    value: str = ""
    #: Of the request, as ``X-Request-ID`` and the server's log have it.
    id: str = ""


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────


class TaskBatch(Body, frozen=True, kw_only=True):
    """``POST /tasks/batch``: all or none is accepted, in one transaction."""

    tasks: list[TaskSpec]


class ReasonView(Value, frozen=True, kw_only=True):
    """Why a task waits."""

    code: str
    text: str
    #: Tasks that stand in the way.
    blockers: tuple[str, ...] = ()
    #: When it is gone, where that is known.
    until_ms: int | None = None


class TaskView(Value, frozen=True, kw_only=True):
    """A task as people see it."""

    id: str
    number: int
    name: str
    owner: str
    state: TaskState
    #: The one plain word made from the task and its attempt: ``running``, ``retrying``, ``adrift``.
    word: str
    #: One sentence about its state, may be empty.
    reason: str = ""
    spec: TaskSpec
    submitted_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    outcome: Outcome | None = None
    attempts: tuple[AttemptView, ...] = ()
    #: Why it waits, when it waits; in a list only for tasks in line, and only for the first
    #: hundred different waits.
    waiting: tuple[ReasonView, ...] = ()
    #: Said once, at submission.
    warnings: tuple[str, ...] = ()
    #: What it counts against: the spec's project, or the owner's own.
    project: str = ""
    #: As it stands in the queue; the spec has what was asked for.
    priority: Priority = Priority.NORMAL
    #: The spec as it was submitted, when edits changed it since.
    original: TaskSpec | None = None
    edits: tuple[Edit, ...] = ()
    #: Of an array: how its members stand.
    members: MemberCounts | None = None
    #: Of a member: its array, and which of its members it is.
    array_id: str | None = None
    member_index: int | None = None
    #: In a list in the order of the queue: its place in line, from 1 on.
    position: int | None = None


class TaskPage(Value, frozen=True, kw_only=True):
    """A page of tasks, newest first."""

    items: tuple[TaskView, ...]
    #: Give it as ``cursor`` for the next page; absent on the last one.
    next: str | None = None
    #: How many there are on all pages; only where an ``offset`` was given.
    total: int | None = None


# ── logs ──────────────────────────────────────────────────────────────────────────────────────


class LogEnd(Value, frozen=True, kw_only=True):
    """Last event of a followed log (event ``end``): the task is over and nothing is missing."""

    task: TaskView


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────


class NodeView(Value, frozen=True, kw_only=True):
    """A node as people see it."""

    id: str
    label: str
    hostname: str
    state: NodeState
    draining: bool
    only_for: str | None = None
    agent_version: str
    system: str = ""
    driver: str = ""
    cpus: int
    cpus_reserved: int
    memory_mib: int
    memory_used_mib: int | None = None
    cpu_percent: int | None = None
    last_contact_age_ms: int | None = None
    problem: str = ""
    gpus: tuple[GpuView, ...] = ()
    #: Attempts on it that have not ended.
    attempts: tuple[str, ...] = ()
    #: Attempts that it holds and the server does not know, as after a backup was restored.
    unknown: tuple[str, ...] = ()
    #: What tasks can ask it for.
    tags: tuple[str, ...] = ()
    #: How many tasks may share one of its GPUs; 1: none does, None: as the hive says.
    tasks_per_gpu_max: int | None = None
    #: While it is draining: who wants it so, why, and until when.
    drain: Drain | None = None


class GpuView(Value, frozen=True, kw_only=True):
    """A GPU as people see it: its last reading and what is reserved on it."""

    report: GpuReport
    reserved_mib: int = 0
    exclusive: bool = False
    #: Attempts that hold a part of it.
    attempts: tuple[str, ...] = ()


class NodePage(Value, frozen=True, kw_only=True):
    """All nodes."""

    items: tuple[NodeView, ...]


class NodeChange(Body, frozen=True, kw_only=True):
    """``PATCH /nodes/{id}``; what is absent stays."""

    draining: bool | None = None
    accepted: bool | None = None
    #: With ``draining``: why, and when it takes tasks again by itself; absent: when somebody says.
    drain_reason: str = ""
    drain_until_ms: int | None = None


class NodeRegistration(Body, frozen=True, kw_only=True):
    """``POST /nodes``: exchange a person's credentials for a node's own token."""

    label: str
    machine_id: str
    hostname: str = ""
    #: Id that the machine had here before, when it still knows it.
    node_id: str | None = None


class NodeCredentials(Value, frozen=True, kw_only=True):
    """The answer to a registration; the token is shown once."""

    node_id: str
    token: str
    #: Empty, or that an administrator has to accept the node first.
    notice: str = ""


# ── people ────────────────────────────────────────────────────────────────────────────────────


class Role(Enum):
    """What a person may do everywhere."""

    ADMINISTRATOR = "administrator"
    MEMBER = "member"


class TokenScope(Enum):
    """What a token opens."""

    #: Everything its user may do.
    FULL = "full"
    #: Look, but change nothing.
    READ = "read"
    #: Register nodes and nothing else.
    NODE = "node"


class Login(Body, frozen=True, kw_only=True):
    """``POST /auth/login``: a password for a token."""

    username: str
    password: str
    #: What the token is for, shown in the list of tokens.
    purpose: str = "login"


class InvitationAnswer(Body, frozen=True, kw_only=True):
    """``POST /auth/invitation``: the code of a one-time link and the password its user chose."""

    code: str
    password: str


class TokenRequest(Body, frozen=True, kw_only=True):
    """``POST /tokens``."""

    name: str
    scope: TokenScope = TokenScope.FULL
    #: None: does not expire.
    expires_in_s: int | None = None


class TokenGrant(Value, frozen=True, kw_only=True):
    """A new token, shown once."""

    id: str
    token: str
    username: str
    role: Role
    scope: TokenScope = TokenScope.FULL
    expires_at_ms: int | None = None


class TokenView(Value, frozen=True, kw_only=True):
    """A token in the list; never the secret itself."""

    id: str
    name: str
    username: str
    scope: TokenScope
    created_at_ms: int
    last_used_at_ms: int | None = None
    expires_at_ms: int | None = None
    #: A browser that is signed in; it holds a cookie in place of a token.
    is_session: bool = False


class TokenPage(Value, frozen=True, kw_only=True):
    """A user's tokens."""

    items: tuple[TokenView, ...]


class SecretValue(Body, frozen=True, kw_only=True):
    """``PUT /secrets/{name}``: what the secret holds."""

    value: str


class SecretView(Value, frozen=True, kw_only=True):
    """A secret as its owner sees it: never what it holds."""

    name: str
    n_bytes: int
    created_at_ms: int
    changed_at_ms: int


class SecretPage(Value, frozen=True, kw_only=True):
    """All of a user's secrets."""

    items: tuple[SecretView, ...]


class BlobView(Value, frozen=True, kw_only=True):
    """How much the server has of what a user uploads under its hash."""

    sha256: str
    #: Bytes that it has: where the next piece begins.
    received: int
    complete: bool = False


class NewUser(Body, frozen=True, kw_only=True):
    """``POST /users``."""

    username: str
    email: str = ""
    role: Role = Role.MEMBER


class UserView(Value, frozen=True, kw_only=True):
    """A user."""

    username: str
    email: str = ""
    role: Role
    created_at_ms: int
    #: False until the one-time link was used.
    active: bool = True


class UserPage(Value, frozen=True, kw_only=True):
    """All users."""

    items: tuple[UserView, ...]


class Invitation(Value, frozen=True, kw_only=True):
    """A new user and the link that lets that person in once."""

    user: UserView
    link: str
    expires_at_ms: int


class Me(Value, frozen=True, kw_only=True):
    """``GET /auth/me``."""

    username: str
    role: Role
    scope: TokenScope
    #: Who is asked through a node's own token, when it is one.
    node_id: str | None = None


class Health(Value, frozen=True, kw_only=True):
    """``GET /health``: open to everybody, so nothing private."""

    #: ``ok`` or ``degraded``.
    status: str
    version: str
    #: Made once per server state: tells "ours" from somebody else's server.
    server_id: str
    api: str = "v1"
    problem: str = ""
