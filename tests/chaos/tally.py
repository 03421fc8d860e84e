"""Whether everything was kept that was promised: compares what FlowHive says with what the tasks'
own witnesses say.

Read are the witness files, the REST API and the logs as the server gives them; nothing else.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct, field

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.outcome import OutcomeKind
from fluxhive.protocol.rest import AttemptView, LogStreamView, TaskView
from fluxhive.transport import Transport

from .faults import Faults
from .people import People, Promise
from .talker import sequence

PIECE_BYTES = 1 << 20
#: Longer than any fence: what still waits for a lost journal waits for a person.
A_PERSON_LOOKS_S = 60.0
#: Output as the server has it, by attempt and stream.
Logs: TypeAlias = dict[tuple[str, str], bytes]
#: What an attempt is called that ends with its supervisor, stopped just then or not.
UNSEEN = (OutcomeKind.SUPERVISOR_LOST, OutcomeKind.LEASE_EXPIRED)
#: What an attempt that was being stopped may be called although it ended by itself just then.
STOPPED = (OutcomeKind.CANCELLED, OutcomeKind.LEASE_EXPIRED, OutcomeKind.NODE_LOST)


class Life(Struct):
    """One attempt as it bore witness itself."""

    attempt: str
    starts: int = 0
    epoch: int = 0
    began_ms: int = 0
    last_ms: int = 0
    gpus: tuple[str, ...] = ()
    stdout: int = 0
    stderr: int = 0
    code: int | None = None


class Tally(Struct):
    """What was found; the first six must stay at zero."""

    lost_tasks: int = 0
    overlaps: int = 0
    repeated_starts: int = 0
    wrong_codes: int = 0
    lost_bytes: int = 0
    doubled_bytes: int = 0
    other: int = 0
    #: Tasks that a person cancelled at the end, since their node had lost its journal.
    waited_for_a_person: int = 0
    tasks: int = 0
    attempts: int = 0
    log_bytes: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all was wrong."""
        return not self.problems

    def add(self, other: Tally) -> None:
        """Both together."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ends += other.ends
        self.problems += other.problems

    def sentence(self) -> str:
        """All of it in a line."""
        return (
            f"{self.tasks} tasks, {self.attempts} attempts, {self.log_bytes} log bytes: "
            f"{self.lost_tasks} lost tasks, {self.overlaps} overlapping attempts, "
            f"{self.repeated_starts} repeated starts, {self.wrong_codes} wrong exit codes, "
            f"{self.lost_bytes} lost log bytes, {self.doubled_bytes} doubled log bytes, "
            f"{self.other} other"
        )

    def note(self, kind: str, n: int, text: str) -> None:
        """Something was not kept."""
        setattr(self, kind, getattr(self, kind) + n)
        self.problems.append(f"{kind}: {text}")


#: The numbers of a tally.
COUNTS = tuple(name for name in Tally.__struct_fields__ if name not in ("ends", "problems"))


def read_witness(path: Path) -> list[Life]:
    """The attempts of a task that ever ran, in the order of their starts."""
    lives: dict[str, Life] = {}
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    for line in text.splitlines():
        words = line.split()
        life = lives.setdefault(words[1], Life(attempt=words[1]))
        if words[0] == "start":
            life.starts += 1
            life.epoch, life.began_ms = int(words[2]), int(words[3])
            life.gpus = () if words[5] == "-" else tuple(words[5].split(","))
            life.last_ms = life.began_ms
        else:
            life.last_ms = int(words[2])
            life.stdout, life.stderr = int(words[-2]), int(words[-1])
        if words[0] == "end":
            life.code = int(words[3])
    return sorted(lives.values(), key=lambda life: life.began_ms)


class Checker:
    """Looks at each task once it is final and its output has come, and once more at the end."""

    def __init__(
        self, people: People, faults: Faults, witnesses: Path, transport: Transport
    ) -> None:
        self._people = people
        self._faults = faults
        self._witnesses = witnesses
        self._transport = transport
        self.tally = Tally()
        self._spans: dict[str, list[tuple[int, int, str]]] = {}
        self._checked: set[str] = set()
        self._ready: dict[str, TaskView] = {}

    def look(self) -> int:
        """Checks what has become final; how many have not."""
        for task_id, promise in list(self._people.promises.items()):
            if task_id in self._checked:
                continue
            try:
                self._look_at(promise)
            except FluxhiveError:
                break  # the server is down: another time
        return len(self._people.promises) - len(self._checked)

    def _look_at(self, promise: Promise) -> None:
        task = self._transport.call("GET", f"/api/v1/tasks/{promise.id}", TaskView)
        if not task.state.is_final:
            return
        self._people.done.add(task.id)
        streams = self._transport.call("GET", f"/api/v1/tasks/{task.id}/logs", list[LogStreamView])
        lives = read_witness(self._witnesses / task.id)
        whole = {(each.attempt, each.stream) for each in streams if each.complete}
        if any(
            (life.attempt, name) not in whole for life in lives for name in ("stdout", "stderr")
        ):
            return
        logs = self._logs_of(task.id, lives)
        # From here on nothing can go wrong that would make it be counted twice.
        self._check(promise, task, lives, logs)
        self._checked.add(task.id)

    def conclude(self) -> Tally:
        """What never became final is lost; what never came of a log is, too."""
        tally = self.tally
        for task_id, promise in self._people.promises.items():
            if task_id in self._checked:
                continue
            task = self._transport.call("GET", f"/api/v1/tasks/{task_id}", TaskView)
            if not task.state.is_final:
                tally.note("lost_tasks", 1, f"{task_id} is {task.word}: {task.reason}")
            else:
                lives = read_witness(self._witnesses / task_id)
                self._check(promise, task, lives, self._logs_of(task_id, lives))
        for path in self._witnesses.iterdir():
            if path.name not in self._people.promises:
                tally.note("other", 1, f"{path.name} ran and nobody was told of it")
        self._check_gpus()
        return tally

    def cancel_what_waits_for_a_person(self) -> None:
        """Of a node that lost its journal, an attempt without a failover length that the node does
        not know may be running for ever, for all that the server can tell (docs/reliability.md)."""
        for promise in list(self._people.promises.values()):
            if promise.id in self._checked or promise.spec.failover_ms is not None:
                continue
            task = self._transport.call("GET", f"/api/v1/tasks/{promise.id}", TaskView)
            attempt = task.attempts[-1] if task.attempts else None
            if task.state.is_final or attempt is None or attempt.outcome is not None:
                continue
            is_lost = attempt.node_label in self._faults.journals_lost_s
            lives = {each.attempt for each in read_witness(self._witnesses / promise.id)}
            if is_lost and attempt.id not in lives:
                self._transport.call("POST", f"/api/v1/tasks/{promise.id}/cancel", TaskView)
                promise.is_cancelled = True
                self.tally.waited_for_a_person += 1

    # ── one task ──────────────────────────────────────────────────────────────────────────────

    def _logs_of(self, task_id: str, lives: list[Life]) -> Logs:
        return {
            (life.attempt, stream): self._read(task_id, life.attempt, stream)
            for life in lives
            for stream in ("stdout", "stderr")
        }

    def _check(self, promise: Promise, task: TaskView, lives: list[Life], logs: Logs) -> None:
        tally = self.tally
        tally.tasks += 1
        tally.attempts += len(task.attempts)
        tally.ends[task.outcome.kind.value if task.outcome else task.state.value] += 1
        for life, following in pairwise(lives):
            if following.began_ms <= life.last_ms:
                tally.note("overlaps", 1, f"{life} and {following}")
            if following.epoch <= life.epoch:
                tally.note("other", 1, f"epochs do not grow: {life}, {following}")
        if promise.spec.at_most_once and len(lives) > 1:
            tally.note("repeated_starts", 1, f"{task.id} may start once: {lives}")
        if promise.is_cancelled and task.state.value != "cancelled":
            tally.note("other", 1, f"{task.id} was cancelled and is {task.state.value}")
        if task.state.value == "succeeded" and not any(life.code == 0 for life in lives):
            tally.note("wrong_codes", 1, f"{task.id} succeeded without a witness")
        views = {each.id: each for each in task.attempts}
        for life in lives:
            if life.starts != 1:
                tally.note("repeated_starts", 1, f"{life}")
            view = views.get(life.attempt)
            if view is None:
                tally.note("other", 1, f"{life.attempt} ran and the server does not know it")
                continue
            for gpu in life.gpus:
                span = (life.began_ms, life.last_ms, life.attempt)
                self._spans.setdefault(gpu, []).append(span)
            self._check_end(view, life)
            self._check_log(logs, life, "stdout", life.stdout)
            self._check_log(logs, life, "stderr", life.stderr)
        ran = {life.attempt for life in lives}
        for view in task.attempts:
            code = view.facts.exit_code if view.facts is not None else None
            if code is not None and view.id not in ran:
                tally.note("wrong_codes", 1, f"{view.id} never ran and has the code {code}")

    def _check_end(self, view: AttemptView, life: Life) -> None:
        """The code is the witness's; a signal has a known cause."""
        facts, outcome = view.facts, view.outcome
        assert outcome is not None, f"{view.id} of a final task has not ended"
        faults = self._faults
        was_rebooted = life.attempt in faults.rebooted
        was_hit = was_rebooted or life.attempt in faults.killed_tasks | faults.killed_shims
        was_stopped = view.late_report is not None or (
            facts is not None and facts.stopped_by is not None
        )
        told = None
        if facts is not None and facts.exit_code is not None:
            told = facts.exit_code
        elif facts is not None and facts.signal is not None:
            told = -facts.signal
        if told is None:
            # Nobody saw the end: only where that was to be expected.
            lost_shim = was_rebooted or life.attempt in faults.killed_shims
            is_right = (
                outcome.kind in (OutcomeKind.NODE_LOST, OutcomeKind.CANCELLED)
                or (outcome.kind in UNSEEN and lost_shim)
                or (outcome.kind is OutcomeKind.NODE_REBOOT and was_rebooted)
            )
        elif told == life.code:
            kind = OutcomeKind.SUCCESS if told == 0 else OutcomeKind.FAILURE
            others = (*STOPPED, OutcomeKind.GPU_FAULT) if told else (OutcomeKind.CANCELLED,)
            is_right = was_stopped or outcome.kind is kind or outcome.kind in others
        else:
            is_right = told < 0 and (was_hit or was_stopped)
        if not is_right:
            self.tally.note("wrong_codes", 1, f"{life}: {outcome}, {facts}")

    # ── output ────────────────────────────────────────────────────────────────────────────────

    def _check_log(self, logs: Logs, life: Life, stream: str, at_least: int) -> None:
        found = logs[life.attempt, stream]
        self.tally.log_bytes += len(found)
        if found == sequence(life.attempt, stream, len(found)):
            if len(found) < at_least:
                text = f"{life.attempt} {stream}: {len(found)} of at least {at_least} bytes came"
                self.tally.note("lost_bytes", at_least - len(found), text)
            elif life.code is not None and len(found) > at_least:
                text = f"{life.attempt} {stream}: {len(found)} bytes of {at_least}"
                self.tally.note("doubled_bytes", len(found) - at_least, text)
            return
        right = sequence(life.attempt, stream, len(found))
        first = next(
            n for n, pair in enumerate(zip(found, right, strict=True)) if len(set(pair)) > 1
        )
        text = (
            f"{life.attempt} {stream}: other bytes from {first} on: {found[first : first + 80]!r}"
        )
        kind = "lost_bytes" if len(found) <= at_least else "doubled_bytes"
        self.tally.note(kind, len(found) - first, text)

    def _read(self, task_id: str, attempt: str, stream: str) -> bytes:
        number = int(attempt.rpartition(".")[2])
        found = bytearray()
        while True:
            query = {"offset": len(found), "limit": PIECE_BYTES, "attempt": number}
            path = f"/api/v1/tasks/{task_id}/logs/{stream}"
            answer = self._transport.whole("GET", path, query=query)
            found += answer.body
            # Asked for more than there is, the server waits for it to come.
            if not answer.body or len(found) >= int(answer.headers["x-log-size"]):
                return bytes(found)

    def _check_gpus(self) -> None:
        """Every attempt here asks to be alone on its GPUs: two at a time is one too many."""
        for gpu, spans in self._spans.items():
            spans.sort()
            for (_, last_ms, one), (began_ms, _, other) in pairwise(spans):
                if began_ms <= last_ms:
                    self.tally.note("overlaps", 1, f"{one} and {other} at once on {gpu}")


def wait_for_the_rest(checker: Checker, faults: Faults, limit_s: float) -> None:
    """After the faults: every task ends and all of its output comes, or the limit is over."""
    began_s = time.monotonic()
    while checker.look() and time.monotonic() < began_s + limit_s:
        faults.undo_due()
        if time.monotonic() > began_s + A_PERSON_LOOKS_S:
            checker.cancel_what_waits_for_a_person()
        time.sleep(0.5)
