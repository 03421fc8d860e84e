"""The Python client of a control server: what the command line does, for programs.

::

    client = Calls()
    task = client.submit(TaskSpec(command=("python", "train.py"), request=Request(gpus=1)))
    task = client.wait(task.id)

Bodies are those of `protocol/rest.py`. Every trouble is a FluxhiveError: `InputError`, `NotFound`,
`AuthError`, `Unreachable`, `Conflict`, `QuotaExceeded` or `RemoteError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from fluxhive import config
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.errors import InputError, NotFound, RemoteError, Unreachable
from fluxhive.core.task import Priority, TaskSpec, TaskState
from fluxhive.protocol import rest
from fluxhive.protocol.bulk import BULK_MAX, BulkAction, BulkResult, BulkResults, TaskBulk
from fluxhive.protocol.metrics import MetricsView
from fluxhive.protocol.rest import LogEnd, LogEvent, TaskView
from fluxhive.protocol.task_change import TaskChange
from fluxhive.protocol.usage import AttemptUsageView, GpuUsage
from fluxhive.protocol.why import OutlookView
from fluxhive.sdk.follow import PATIENCE_S, PAUSE_MAX_S, Follower
from fluxhive.sdk.log_piece import LogPiece as LogPiece
from fluxhive.sdk.people_calls import API as API
from fluxhive.sdk.people_calls import PeopleCalls
from fluxhive.transport import Transport, new_idempotency_key

if TYPE_CHECKING:
    from fluxhive.sdk.snapshot import Tree
    from fluxhive.sdk.watching import Watcher

PAGE_SIZE = 200
LOG_READ_BYTES = 1 << 20
WAIT_ROUND_S = 20
"""How long the server may hold one question; below the read timeout of the transport."""


class Calls(PeopleCalls):
    """One server, as one user. May be used from several threads."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Without arguments: the server and the token of the configuration (`fluxhive config`)."""
        if transport is None:
            settings = config.load({"control_base_url": url, "user.token": token})
            transport = Transport(
                settings.control_base_url, token=settings.token, ca_file=settings.ca_file
            )
        super().__init__(transport)
        #: Waits for many tasks at once (watching.py); None: nobody asked for that yet.
        self.watcher: Watcher | None = None

    @property
    def url(self) -> str:
        """Address of the server."""
        return self.transport.base_url

    def close(self) -> None:
        """Frees the connections."""
        self.transport.close()

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── tasks ────────────────────────────────────────────────────────────────────────────────

    def submit(
        self, spec: TaskSpec, *, hold: bool = False, idempotency_key: str | None = None
    ) -> TaskView:
        """Hands a task in; when this returns it is stored. `hold`: it waits to be released.

        The same key and spec again give the same task, so a doubtful call may be repeated.
        """
        return self.transport.call(
            "POST",
            f"{API}/tasks",
            TaskView,
            query={"hold": "true" if hold else None},
            body=spec,
            idempotency_key=idempotency_key or new_idempotency_key(),
        )

    def tasks(
        self,
        *,
        state: TaskState | None = None,
        owner: str | None = None,
        name: str | None = None,
        array: str | None = None,
        since_ms: int | None = None,
        limit: int | None = None,
    ) -> Iterator[TaskView]:
        """Tasks, newest first; `since_ms`: those that live, or ended at or after that time.

        An array counts as one; `array` lists those of its members that have left the queue.
        """
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self.transport.call(
                "GET",
                f"{API}/tasks",
                rest.TaskPage,
                query={
                    "state": None if state is None else state.value,
                    "owner": owner,
                    "name": name,
                    "array": array,
                    "since_ms": since_ms,
                    "limit": PAGE_SIZE if left is None else min(left, PAGE_SIZE),
                    "cursor": cursor,
                },
            )
            yield from page.items
            cursor = page.next
            left = None if left is None else left - len(page.items)
            if cursor is None or not page.items:
                return

    def task(self, task_id: str) -> TaskView:
        """One task by id, unique beginning of an id, or name."""
        return self.transport.call("GET", _task_path(task_id), TaskView)

    def cancel(self, task_id: str) -> TaskView:
        """Cancels a task. When this returns no new attempt starts; one that runs is stopped."""
        return self._order(task_id, "cancel")

    def hold(self, task_id: str) -> TaskView:
        """Keeps a task that has not started from starting, until it is released."""
        return self._order(task_id, "hold")

    def release(self, task_id: str) -> TaskView:
        """Takes a person's hold away; start times and other tasks hold on."""
        return self._order(task_id, "release")

    def bulk(
        self, action: BulkAction, names: Sequence[str], *, priority: Priority | None = None
    ) -> Iterator[BulkResult]:
        """Does one thing with many tasks, a thousand a request; what became of each, in order."""
        for begun in range(0, len(names), BULK_MAX):
            part = list(names[begun : begun + BULK_MAX])
            body = TaskBulk(action=action, ids=part, priority=priority)
            # All but a rerun may be said twice.
            key = None if action is BulkAction.RERUN else new_idempotency_key()
            answer = self.transport.call(
                "POST", f"{API}/tasks/bulk", BulkResults, body=body, idempotency_key=key
            )
            yield from answer.results

    def edit(self, task_id: str, change: TaskChange) -> TaskView:
        """Changes what a waiting task asks for; the priority also while it runs."""
        return self.transport.call("PATCH", _task_path(task_id), TaskView, body=change)

    def why(self, task_id: str) -> OutlookView:
        """Why a task waits, when it is likely to start, and what would help."""
        return self.transport.call("GET", f"{_task_path(task_id)}/why", OutlookView)

    def dry_run(self, spec: TaskSpec) -> OutlookView:
        """Where and when a task would run if it were submitted now; nothing is submitted."""
        return self.transport.call("POST", f"{API}/tasks/dry-run", OutlookView, body=spec)

    def wait(self, task_id: str, *, timeout_s: float | None = None) -> TaskView:
        """The task when it has ended, or as it is after `timeout_s`.

        Waits on while the server restarts. Raises ``Unreachable`` when it stays away.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        answered_at = time.monotonic()
        while True:
            left_s = WAIT_ROUND_S if until is None else max(0.0, until - time.monotonic())
            query = {"timeout_s": min(WAIT_ROUND_S, int(left_s + 0.999))}
            try:
                task = self.transport.call(
                    "GET", f"{_task_path(task_id)}/wait", TaskView, query=query
                )
            except (Unreachable, RemoteError):  # a proxy says so, or the connection broke
                now = time.monotonic()
                if now >= answered_at + PATIENCE_S or (until is not None and now >= until):
                    raise
                time.sleep(PAUSE_MAX_S if until is None else min(PAUSE_MAX_S, until - now))
                continue
            answered_at = time.monotonic()
            if task.state.is_final or (until is not None and time.monotonic() >= until):
                return task

    def _order(self, task_id: str, verb: str) -> TaskView:
        path, key = f"{_task_path(task_id)}/{verb}", new_idempotency_key()
        return self.transport.call("POST", path, TaskView, idempotency_key=key)

    # ── logs ─────────────────────────────────────────────────────────────────────────────────

    def streams(self, task_id: str, *, attempt: int | None = None) -> list[rest.LogStreamView]:
        """How much of which streams is stored; of all attempts when none is named."""
        return self.transport.call(
            "GET",
            f"{_task_path(task_id)}/logs",
            list[rest.LogStreamView],
            query={"attempt": attempt},
        )

    def logs(
        self,
        task_id: str,
        stream: str = "stdout",
        *,
        attempt: int | None = None,
        offset: int | None = None,
        limit: int = LOG_READ_BYTES,
        tail_bytes: int | None = None,
        rank: int = 0,
        process: int | None = None,
    ) -> LogPiece:
        """Bytes of one stream: from `offset`, or the last `tail_bytes`; of a gang, a member's.

        Of torchrun's processes one's alone, by its rank among all (`process`).
        """
        if offset is not None and tail_bytes is not None:
            raise InputError("`offset` and `tail_bytes` exclude each other", field="tail_bytes")
        answer = self.transport.whole(
            "GET",
            f"{_task_path(task_id)}/logs/{quote(stream, safe='')}",
            query={
                "attempt": attempt,
                "offset": offset,
                "limit": limit if tail_bytes is None else None,
                "tail_bytes": tail_bytes,
                "rank": rank or None,
                "process": process,
            },
        )
        headers, data = answer.headers, answer.body
        start = int(headers.get("x-log-offset", offset or 0))
        return LogPiece(
            data=data,
            offset=start,
            size=int(headers.get("x-log-size", start + len(data))),
            is_complete=headers.get("x-log-complete", "").lower() in ("1", "true"),
            gaps=_gaps(headers.get("x-log-gaps", "")),
        )

    def follow(
        self,
        task_id: str,
        *,
        attempt: int | None = None,
        rank: int = 0,
        process: int | None = None,
        wait: bool = True,
        on_trouble: Callable[[str], None] | None = None,
    ) -> Iterator[LogEvent | LogEnd]:
        """What the task writes, as it comes, ended by one `LogEnd`.

        Survives lost connections and server restarts: it goes on where it was, nothing comes
        twice. `on_trouble` is told when the contact is lost, and with an empty text when it is
        back. With `attempt` only that attempt is followed; of a gang, the member of this rank with
        all its processes; of torchrun's processes one alone (`process`, its rank among all).
        Without `wait` it ends with what is there.
        """
        path = f"{_task_path(task_id)}/logs/follow"
        return Follower(
            self.transport, path, attempt, on_trouble, rank=rank, process=process, wait=wait
        ).events()

    def metrics(
        self,
        task_id: str,
        *,
        names: Iterable[str] = (),
        attempt: int | None = None,
        rank: int = 0,
        points: int = 1000,
    ) -> MetricsView:
        """The numbers that a task reports of itself, as series of at most ``points``."""
        given = [("attempt", attempt), ("rank", rank or None), ("points", points)]
        query = [(name, value) for name, value in given if value is not None]
        text = urlencode([*query, *(("name", name) for name in names)])
        return self.transport.call("GET", f"{_task_path(task_id)}/metrics?{text}", MetricsView)

    # ── nodes ────────────────────────────────────────────────────────────────────────────────

    def nodes(self) -> tuple[rest.NodeView, ...]:
        """All nodes with their GPUs."""
        return self.transport.call("GET", f"{API}/nodes", rest.NodePage).items

    def change_node(
        self,
        node_id: str,
        *,
        draining: bool | None = None,
        accepted: bool | None = None,
        drain_reason: str = "",
        drain_until_ms: int | None = None,
    ) -> rest.NodeView:
        """Changes how a node is used; None leaves it. For administrators and the node's owner."""
        return self.transport.call(
            "PATCH",
            _node_path(node_id),
            rest.NodeView,
            body=rest.NodeChange(
                draining=draining,
                accepted=accepted,
                drain_reason=drain_reason,
                drain_until_ms=drain_until_ms,
            ),
        )

    def node(self, node_id: str) -> rest.NodeView:
        """A node by id or label."""
        return self.transport.call("GET", _node_path(node_id), rest.NodeView)

    def attempt_usage(
        self, attempt_id: str, *, from_ms: int = 0, step_s: int = 1
    ) -> AttemptUsageView:
        """What an attempt used of its GPUs over time."""
        query = f"?from_ms={from_ms}&step_s={step_s}"
        path = f"/api/v1/attempts/{quote(attempt_id, safe='')}/usage{query}"
        return self.transport.call("GET", path, AttemptUsageView)

    def gpu_history(
        self, node_id: str, uuid: str, *, from_ms: int = 0, step_s: int = 1
    ) -> GpuUsage:
        """How a node's GPU was used over time."""
        query = f"?from_ms={from_ms}&step_s={step_s}"
        path = f"{_node_path(node_id)}/gpus/{quote(uuid, safe='')}/history{query}"
        return self.transport.call("GET", path, GpuUsage)

    def give_node_up(self, node_id: str) -> rest.NodeView:
        """Says that the node's machine is off: its attempts are over. Refused while in contact."""
        return self.transport.call("POST", f"{_node_path(node_id)}/give-up", rest.NodeView)

    def end_unknown(self, node_id: str) -> rest.NodeView:
        """Ends what the node holds and the server does not know. For administrators."""
        return self.transport.call("POST", f"{_node_path(node_id)}/end-unknown", rest.NodeView)

    def remove_node(self, node_id: str) -> rest.NodeView:
        """Takes a node that is gone for good off the list. Refused while it holds attempts."""
        return self.transport.call("DELETE", _node_path(node_id), rest.NodeView)

    # ── code ─────────────────────────────────────────────────────────────────────────────────

    def upload_code(
        self, directory: str = ".", *, on_look: Callable[[Tree], None] = lambda _tree: None
    ) -> CodeSnapshot:
        """Takes a snapshot of a directory and uploads it; for ``TaskSpec.code``.

        What the server has already is not sent again. `on_look` is told what is taken, before it
        is sent.
        """
        # What most programs never need is not loaded for them.
        from fluxhive.sdk.snapshot import look, pack
        from fluxhive.sdk.upload import upload

        tree = look(directory)
        on_look(tree)
        archive = pack(tree)
        with archive.file as file:
            upload(self.transport, file, archive.code.sha256, archive.code.n_bytes)
        return archive.code

    def health(self) -> rest.Health:
        """Whether the server is well; needs no token."""
        return self.transport.call("GET", f"{API}/health", rest.Health)


def _node_path(node_id: str) -> str:
    if not node_id or node_id in (".", ".."):
        raise NotFound(f"no node is called `{node_id}`", hint="list them: fluxhive nodes")
    return f"{API}/nodes/{quote(node_id, safe='')}"


def _task_path(task_id: str) -> str:
    if not task_id or task_id in (".", ".."):
        raise NotFound(f"no task is called `{task_id}`", hint="list them: fluxhive ps")
    return f"{API}/tasks/{quote(task_id, safe='')}"


def _gaps(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [part.split("-") for part in text.split(",") if "-" in part]
    return tuple((int(start), int(end)) for start, end in pairs)
