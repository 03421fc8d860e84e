"""One small hive behind the stub server, which the snapshots of all commands are taken of."""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.core.array import ArraySpec, MemberCounts, SweepVariable
from fluxhive.core.booking import Booking
from fluxhive.core.node import NodeState
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.outlook import GpuCount, GpuStanding
from fluxhive.core.quota import Quota, QuotaScope, Use
from fluxhive.core.remedies import Remedy
from fluxhive.core.request import Request
from fluxhive.core.task import AttemptState, TaskSpec, TaskState
from fluxhive.core.values import GpuUuid, NodeId
from fluxhive.protocol.bookings import BookedGpu, BookingPage, BookingView
from fluxhive.protocol.quotas import QuotaPage, QuotaView
from fluxhive.protocol.rest import (
    LogEnd,
    NodePage,
    NodeView,
    ReasonView,
    Role,
    SecretPage,
    SecretView,
    TaskPage,
    TaskView,
    TokenGrant,
    TokenPage,
    TokenScope,
    TokenView,
    UserPage,
    UserView,
)
from fluxhive.protocol.usage import UsageRow, UsageSums
from fluxhive.protocol.why import OutlookView
from tests.helpers import cli_views as views
from tests.helpers.cli_views import NOON_MS
from tests.helpers.stub_server import (
    StubServer,
    bytes_answer,
    event,
    problem_answer,
    stream_answer,
)

ME = {"username": "ada", "role": "member", "scope": "full"}
REASON = ReasonView(code="MEMORY", text="needs 20.0 GiB on one GPU; gpu-b:0 has 11.0 GiB free")


def tasks() -> tuple[TaskView, ...]:
    """One of each kind that people meet."""
    spec = TaskSpec(command=("python", "train.py", "--lr", "1e-3"), name="vit")
    waiting = views.task(
        spec=replace(spec, request=Request(gpus=1, gpu_memory_mib=20_480)),
        waiting=(REASON,),
        reason="submitted",
    )
    failed = replace(
        views.succeeded(),
        id="t-b0t5",
        name="a name that somebody gave it and that goes on for a while",
        state=TaskState.FAILED,
        word="failed",
        reason="exit code 1: ModuleNotFoundError: No module named 'einops'",
        outcome=Outcome(kind=OutcomeKind.FAILURE, exit_code=1),
        spec=replace(spec, command=("python", "train.py", "--lr", "3e-4"), env={"SEED": "7"}),
        attempts=(
            views.attempt(
                state=AttemptState.ENDED,
                outcome=Outcome(kind=OutcomeKind.FAILURE, exit_code=1),
                facts=ExitFacts(exit_code=1, duration_ms=3_400, cpu_ms=3_000, peak_memory_mib=310),
            ),
        ),
    )
    sweep = views.task(
        id="t-5w33",
        name="sweep",
        spec=replace(
            spec,
            array=ArraySpec(variables=(SweepVariable(name="lr", values=("1e-3", "3e-4")),)),
        ),
        members=MemberCounts(waiting=1, live=1),
    )
    return (waiting, views.running(), failed, sweep)


def nodes() -> tuple[NodeView, ...]:
    """One that is well and one that is out of contact."""
    silent = views.node(
        id="n-2",
        label="gpu-b",
        state=NodeState.SILENT,
        gpus=(),
        attempts=(),
        problem="no contact for 14 min",
        last_contact_age_ms=840_000,
        tags=("a100", "nvme"),
    )
    return (views.node(), silent)


OUTLOOK = OutlookView(
    id="t-7f3k",
    name="vit",
    owner="ada",
    state=TaskState.QUEUED,
    word="queued",
    summary="needs 20.0 GiB on one GPU; the most free is 11.0 GiB on gpu-b:0",
    reasons=(REASON,),
    position=3,
    n_in_line=41,
    gpus=(GpuCount(standing=GpuStanding.MEMORY, n_gpus=21),),
    remedies=(Remedy(option="--gpu-mem 11G", where="gpu-b:0"),),
)


BOOKING = BookingView(
    booking=Booking(
        id="b-1",
        scope=QuotaScope.PROJECT,
        name="vision",
        gpus=(GpuUuid("GPU-1"),),
        from_ms=NOON_MS,
        until_ms=NOON_MS + 8 * 3_600_000,
        by="root",
    ),
    gpus=(BookedGpu(node_id=NodeId("n-1"), label="gpu-a", index=2),),
)


#: Somebody who has trained much, and one task without a name.
USAGE = UsageSums(
    rows=(
        UsageRow(
            key="a name that somebody gave it and that goes on for a while",
            tasks=24_000,
            succeeded=23_990,
            failed=7,
            gpu_ms=44_446_000_000,
            cpu_ms=9_000_000,
            known_ms=44_446_000_000,
            busy_percent=91,
            peak_gpu_memory_mib=81_000,
        ),
        UsageRow(key="", tasks=1, failed=1, cpu_ms=3_000),
    ),
    total=UsageRow(
        key="",
        tasks=24_001,
        succeeded=23_990,
        failed=8,
        gpu_ms=44_446_000_000,
        cpu_ms=9_003_000,
        known_ms=44_446_000_000,
        busy_percent=91,
        peak_gpu_memory_mib=81_000,
    ),
)


def set_scene(server: StubServer) -> None:
    """Lets the stub answer as this hive would."""
    found = tasks()
    server.on("GET", "/auth/me", ME)
    server.on("GET", "/usage", USAGE)
    server.on("GET", "/tasks", TaskPage(items=found))
    server.on("POST", "/tasks", replace(found[0], id="t-n3w1", waiting=(), reason="submitted"))
    server.on("POST", "/tasks/dry-run", OUTLOOK)
    for task in found:
        server.on("GET", f"/tasks/{task.id}", task)
        for verb, word in (("cancel", "cancelled"), ("hold", "held"), ("release", "queued")):
            server.on("POST", f"/tasks/{task.id}/{verb}", replace(task, word=word))
    server.on("PATCH", "/tasks/t-7f3k", found[0])
    server.on("GET", "/tasks/t-7f3k/why", OUTLOOK)
    server.on("GET", "/tasks/t-b0t5/wait", found[2])
    end = stream_answer(event("end", LogEnd(task=found[2])))
    server.on("GET", "/tasks/t-b0t5/logs/follow", end)
    written = {"x-log-offset": "0", "x-log-size": "12", "x-log-complete": "false"}
    server.on("GET", "/tasks/t-7d01/logs/stdout", bytes_answer(b"one\ntwo\nlast", written))
    server.on("GET", "/tasks/t-7d01/logs/stderr", bytes_answer(b"", {**written, "x-log-size": "0"}))
    server.on("PATCH", "/nodes/gpu-a", nodes()[0])
    server.on("GET", "/bookings", BookingPage(items=(BOOKING,)))
    server.on("DELETE", "/bookings/b-1", BOOKING)
    refused = {"title": "Not authorized", "detail": "wrong name or password"}
    server.on("POST", "/auth/login", problem_answer(refused, 401))
    server.on("GET", "/nodes", NodePage(items=nodes()))
    quota = QuotaView(
        quota=Quota(scope=QuotaScope.USER, name="ada", running_gpus=8),
        use=Use(running_gpus=3, running_tasks=2, waiting_tasks=40),
    )
    server.on("GET", "/quotas", QuotaPage(items=(quota,)))
    secret = SecretView(name="HF_TOKEN", n_bytes=37, created_at_ms=NOON_MS, changed_at_ms=NOON_MS)
    server.on("GET", "/secrets", SecretPage(items=(secret,)))
    user = UserView(username="ada", email="", role=Role.MEMBER, created_at_ms=NOON_MS)
    server.on("GET", "/users", UserPage(items=(user,)))
    token = TokenView(
        id="k-1",
        name="ci",
        username="ada",
        scope=TokenScope.READ,
        created_at_ms=NOON_MS,
        last_used_at_ms=NOON_MS + 60_000,
    )
    server.on("GET", "/tokens", TokenPage(items=(token,)))
    server.on("DELETE", "/tokens/k-1", TokenPage(items=()))
    grant = TokenGrant(
        id="k-2", token="fh_u_new", username="ada", role=Role.MEMBER, scope=TokenScope.FULL
    )
    server.on("POST", "/tokens", grant)
