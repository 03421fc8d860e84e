"""A task as a program holds it: how it stands, what it prints, what it gave, and orders to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fluxhive.core.errors import AuthError, Conflict
from fluxhive.core.outcome import Outcome
from fluxhive.core.task import TaskState
from fluxhive.protocol.metrics import MetricsView
from fluxhive.protocol.rest import AttemptView, LogEvent, TaskView
from fluxhive.protocol.task_change import TaskChange
from fluxhive.protocol.why import OutlookView

from .calls import Calls
from .failures import ResultLost, WaitTimeout, failure_of
from .follow import data_of
from .tasks import exit_code, is_torchrun, last_attempt

if TYPE_CHECKING:
    from .functions import CallFailed as CallFailed

RESULT_READ_BYTES = 4 << 20

R = TypeVar("R")


class Task(Generic[R]):
    """One task of a hive and the type of its result. ``Client.submit`` and ``Client.task`` give it.

    ``view`` is the task as it was last seen; ``refresh`` and everything that waits renew it. May be
    used from several threads. In a notebook it shows itself.
    """

    def __init__(
        self,
        calls: Calls,
        task_id: str,
        view: TaskView | None = None,
        *,
        is_trusted: bool = False,
        since: int | None = None,
    ) -> None:
        """``is_trusted``: it was submitted here, so that its result may be unpickled."""
        #: Connection of the watcher before which it did not exist (watching.py); None: not known.
        self.watched_since = since
        #: ``t-7f3k``; of a member of an array ``t-7f3k[5]``.
        self.id = task_id
        #: What it is asked through.
        self.calls = calls
        self._is_trusted = is_trusted
        self._view = view

    @property
    def seen_view(self) -> TaskView | None:
        """As it was last seen, if it was."""
        return self._view

    @property
    def view(self) -> TaskView:
        """As it was last seen."""
        if self._view is None:
            self._view = self.calls.task(self.id)
        return self._view

    # ── how it stands ────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """What its author called it; may be empty."""
        return self.view.name

    @property
    def state(self) -> TaskState:
        """How it stands now: asks the server, unless it has ended."""
        return self.refresh().view.state

    @property
    def word(self) -> str:
        """The same in the word that people are shown: ``running``, ``retrying``, ``adrift`` …"""
        return self.refresh().view.word

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None before that."""
        return self.refresh().view.outcome

    @property
    def exit_code(self) -> int | None:
        """The program's own, 128 + n for signal n, 124 for the time limit; None: not ended yet."""
        view = self.refresh().view
        return exit_code(view) if view.state.is_final else None

    @property
    def attempts(self) -> tuple[AttemptView, ...]:
        """All tries at it, the first one first."""
        return self.refresh().view.attempts

    @property
    def url(self) -> str:
        """Its page in the dashboard."""
        return f"{self.calls.url}/t/{self.id}"

    def done(self) -> bool:
        """Whether it has ended, however."""
        return self.state.is_final

    def refresh(self) -> Task[R]:
        """Looks how it stands now; what has ended stays as it is."""
        if self._view is None or not self._view.state.is_final:
            self._view = self.calls.task(self.id)
        return self

    def seen(self, view: TaskView) -> None:
        """Somebody else looked: it stands like this."""
        if self._view is None or not self._view.state.is_final:
            self._view = view

    def why(self) -> OutlookView:
        """Why it waits, when it is likely to start, and what would help."""
        return self.calls.why(self.id)

    # ── its end ──────────────────────────────────────────────────────────────────────────────

    def wait(self, timeout: float | None = None) -> Task[R]:
        """Returns when it has ended, however. Raises ``WaitTimeout`` after so many seconds."""
        if self._view is None or not self._view.state.is_final:
            self._view = self.calls.wait(self.id, timeout_s=timeout)
        if not self.view.state.is_final:
            raise WaitTimeout(self.view, timeout or 0.0)
        return self

    def result(self, timeout: float | None = None) -> R:
        """What its function returned; of a command, its view once it has succeeded.

        Waits for that. Raises what the function raised, ``TaskFailed`` (also ``TaskCancelled``) for
        any other end without success, ``WaitTimeout``.
        """
        self.wait(timeout)
        if not self.view.spec.function:
            if self.view.state is not TaskState.SUCCEEDED:
                raise failure_of(self.view)
            view: Any = self.view
            return view  # type: ignore[no-any-return]  # R is TaskView for a command
        if self.view.state is TaskState.CANCELLED:
            raise failure_of(self.view)
        data = self._result_bytes()
        if self.view.state is not TaskState.SUCCEEDED and not data:
            raise failure_of(self.view)
        self._check_trust()
        from .functions import value_of

        try:
            value: R = value_of(data, function=self.view.spec.function, task_id=self.id)
            return value
        except ResultLost:
            if self.view.state is TaskState.SUCCEEDED:
                raise
            raise failure_of(self.view) from None

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What ``result`` would raise; None: it gives a result. Raises ``WaitTimeout``."""
        self.wait(timeout)
        try:
            self.result()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.view.state is TaskState.SUCCEEDED:
                raise
            return error
        return None

    def trust(self) -> Task[R]:
        """Lets ``result`` unpickle what a task of somebody else gave: that runs code of theirs."""
        self._is_trusted = True
        return self

    def _check_trust(self) -> None:
        if self._is_trusted:
            return
        me = self.calls.me().username
        if self.view.owner != me:
            raise AuthError(
                f"the result of {self.id} is of {self.view.owner}, and you are {me}: reading it "
                "would run what its author put into it",
                hint="if you trust that person: task.trust().result()",
                forbidden=True,
            )

    def _result_bytes(self) -> bytes:
        """All of the last attempt's result; empty where there is none."""
        if not self.view.attempts:
            return b""
        data = bytearray()
        until_s = time.monotonic() + 60
        while True:
            piece = self.calls.logs(self.id, "result", offset=len(data), limit=RESULT_READ_BYTES)
            if piece.gaps:
                raise ResultLost(
                    f"of the result of {self.id}, bytes are missing",
                    hint=f"see why: fluxhive logs {self.id}",
                )
            data += piece.data
            if len(data) >= piece.size and piece.is_complete:
                return bytes(data)
            if not piece.data and time.monotonic() > until_s:
                # Its node is away with the rest.
                raise ResultLost(
                    f"the result of {self.id} is not all here yet: its node is out of contact",
                    hint="ask again when the node is back: fluxhive nodes",
                )

    # ── what it prints and reports ───────────────────────────────────────────────────────────

    def logs(
        self,
        stream: str = "stdout",
        *,
        follow: bool = False,
        attempt: int | None = None,
        rank: int | None = None,
    ) -> Iterator[bytes]:
        """What it printed, in pieces: ``b"".join(task.logs())``; of the newest attempt by default.

        With ``follow``: both streams as they come, of all attempts, until it has ended; it goes on
        through lost connections. ``rank``: of this process of torchrun alone, as torch counts; of
        another task on several nodes, of this member (the first by default).
        """
        has_processes = is_torchrun(self.view)
        process, member = (rank, 0) if has_processes else (None, rank or 0)
        if follow or (has_processes and rank is None):
            newest = None if follow or attempt is not None else last_attempt(self.refresh().view)
            number = attempt if newest is None else newest.number
            for event in self.calls.follow(
                self.id, attempt=number, rank=member, process=process, wait=follow
            ):
                if isinstance(event, LogEvent) and (follow or event.stream == stream):
                    yield data_of(event)
            return
        offset = 0
        while True:
            piece = self.calls.logs(
                self.id, stream, attempt=attempt, offset=offset, rank=member, process=process
            )
            if piece.data:
                yield piece.data
            offset = piece.offset + len(piece.data)
            if not piece.data or offset >= piece.size:
                return

    def metrics(
        self, *names: str, attempt: int | None = None, rank: int = 0, points: int = 1000
    ) -> MetricsView:
        """The numbers that it reports of itself by ``fluxhive.log``: of these names, or all."""
        return self.calls.metrics(self.id, names=names, attempt=attempt, rank=rank, points=points)

    # ── orders ───────────────────────────────────────────────────────────────────────────────

    def cancel(self) -> Task[R]:
        """When this returns no new attempt starts, and one that runs is being stopped."""
        self._view = self.calls.cancel(self.id)
        return self

    def hold(self) -> Task[R]:
        """Keeps it from starting until it is released."""
        self._view = self.calls.hold(self.id)
        return self

    def release(self) -> Task[R]:
        """Takes the hold of a person away."""
        self._view = self.calls.release(self.id)
        return self

    def edit(self, change: TaskChange) -> Task[R]:
        """Changes what it asks for while it waits; its priority also while it runs."""
        self._view = self.calls.edit(self.id, change)
        return self

    def __getitem__(self, index: int) -> Task[R]:
        """A member of an array, by its index."""
        if self.view.spec.array is None:
            raise Conflict(f"{self.id} is a single task", hint="only arrays have members")
        return Task(self.calls, f"{self.id}[{index}]", is_trusted=self._is_trusted)

    # ── as it is shown ───────────────────────────────────────────────────────────────────────

    def __repr__(self) -> str:
        from .display import line_of

        return f"<Task {self.id if self._view is None else line_of(self._view)}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """For notebooks: as it stands when it is shown."""
        from .display import html_of, line_of

        view = self.refresh().view
        return {"text/plain": f"<Task {line_of(view)}>", "text/html": html_of(view, self.url)}

    def show(self, every: float = 1.0) -> None:
        """In a notebook: how it stands, renewed each ``every`` seconds until it has ended."""
        from IPython.display import display

        shown = display(self, display_id=True)
        while not self.view.state.is_final:
            time.sleep(every)
            shown.update(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and (self.id, self.calls.url) == (
            other.id,
            other.calls.url,
        )

    def __hash__(self) -> int:
        return hash(self.id)
