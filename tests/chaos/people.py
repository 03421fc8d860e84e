"""The load: people who submit talking tasks, cancel some, and remember what they were promised."""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

from msgspec import Struct

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import TaskView
from fluxhive.transport import new_idempotency_key

from .processes import Processes

TALKER = str(Path(__file__).with_name("talker.py"))
FAILOVER_MS = 10_000
GRACE_MS = 1_000


class Promise(Struct):
    """A task that was accepted."""

    id: str
    code: int
    spec: TaskSpec
    submitted_s: float
    #: The cancel was acknowledged while the task was not final.
    is_cancelled: bool = False


class People:
    """Submits while ``waiting`` is below what the nodes hold and a little more."""

    def __init__(self, processes: Processes, witnesses: Path, *, most: int, seed: int) -> None:
        self._processes = processes
        self._witnesses = witnesses
        self._most = most
        self._chance = random.Random(seed)
        self.promises: dict[str, Promise] = {}
        #: Final and checked; kept by whoever checks.
        self.done: set[str] = set()
        self.n_unanswered = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="people")

    def start(self) -> None:
        """They come."""
        self._thread.start()

    def stop(self) -> None:
        """No more tasks."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        transport = self._processes.transport()
        while not self._is_over.wait(0.05):
            if len(self.promises) - len(self.done) < self._most:
                self._submit(transport)
            if self._chance.random() < 0.01:
                self._cancel(transport)

    def _submit(self, transport) -> None:  # type: ignore[no-untyped-def]
        code, spec = self._spec()
        key = new_idempotency_key()
        while True:
            try:
                task = transport.call(
                    "POST", "/api/v1/tasks", TaskView, body=spec, idempotency_key=key
                )
                break
            except FluxhiveError:
                # Perhaps it was accepted, perhaps not: the same key asks again.
                self.n_unanswered += 1
                time.sleep(0.3)
        self.promises[task.id] = Promise(
            id=task.id, code=code, spec=spec, submitted_s=time.monotonic()
        )

    def _cancel(self, transport) -> None:  # type: ignore[no-untyped-def]
        open_ids = [each for each in list(self.promises) if each not in self.done]
        if not open_ids:
            return
        promise = self.promises[self._chance.choice(open_ids)]
        try:
            task = transport.call("POST", f"/api/v1/tasks/{promise.id}/cancel", TaskView)
        except FluxhiveError:
            return  # the task is final, or nobody knows whether it was heard
        promise.is_cancelled = not task.state.is_final or task.state.value == "cancelled"

    def _spec(self) -> tuple[int, TaskSpec]:
        chance = self._chance
        code = chance.choices([0, chance.randrange(1, 251), -15, -9], [80, 16, 2, 2])[0]
        seconds = chance.choice([0.05, 0.5, 2.0, 5.0, 8.0, chance.uniform(10, 40)])
        n_bytes = chance.choice([200, 2_000, 20_000, 20_000, 120_000])
        kind = chance.random()
        gpus = 1 if chance.random() < 0.3 else 0
        spec = TaskSpec(
            command=(
                sys.executable,
                "-I",
                "-S",
                TALKER,
                str(self._witnesses),
                str(code),
                f"{seconds:.2f}",
                str(n_bytes),
            ),
            request=Request(cpus=1, gpus=gpus, exclusive=gpus > 0),
            workdir="/",
            grace_ms=GRACE_MS,
            retry=2 if kind < 0.2 else 0,
            failover_ms=FAILOVER_MS if 0.15 < kind < 0.45 else None,
            at_most_once=kind > 0.93,
        )
        return code, spec
