"""The nodes that are connected: greets them, carries out what the brain says to them.

One live session per node; a newer connection of the same node closes the older one. Every word to
a node names the session it belongs to, and goes out only there. A ``Forget`` waits here until all
the attempt printed is on our disk for good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import anyio
from msgspec.structs import replace
from starlette.websockets import WebSocket, WebSocketDisconnect

from fluxhive import __version__
from fluxhive.core import effects
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.events import NodeLeft
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.task import Attempt
from fluxhive.core.values import AttemptId, NodeId
from fluxhive.protocol.agent import (
    Forget,
    Heartbeat,
    Launch,
    LogUpTo,
    Turned,
    Welcome,
)
from fluxhive.protocol.dispatching import launch_of, stop_of
from fluxhive.protocol.wire import (
    CAPABILITY_EXTRA_STREAMS,
    CAPABILITY_PROCESS_STREAMS,
    CAPABILITY_ZSTD_LOGS,
    SUBPROTOCOL,
    WireError,
    agent_codec,
)

from . import close_codes
from .brain import Brain, NodeEffect
from .dispatching import encoded_dispatch
from .hello import NodeIdentity, joined
from .live_readings import LiveReadings, newer
from .log_writer import AttemptLogs
from .logs import LogStore, lengths_of
from .node_checks import BadNode
from .session import Session
from .store.failures import StoreUnavailable
from .store.queries import read_attempt
from .store.store import Store
from .twins import refusal

log = logging.getLogger(__name__)

#: A hello must come, and be judged, within this time.
HELLO_S = 10.0
GREETING_S = 60.0
#: Nothing heard for so long: the line is dead, whatever TCP believes.
SILENCE_S = 15.0
LOOK_S = 1.0
FORGET_IDS_MAX = 500


class Sessions:
    """See the module's docstring. ``run`` for as long as the server lives."""

    def __init__(
        self, store: Store, brain: Brain, logs: LogStore, *, gpu_reading_ms: int = 0
    ) -> None:
        self._store = store
        self._gpu_reading_ms = gpu_reading_ms
        self._brain = brain
        self._logs = logs
        self._codec = agent_codec()
        self._live: dict[NodeId, Session] = {}
        #: Connections whose hello is with the brain.
        self._greeting: dict[tuple[NodeId, int], Session] = {}
        self._given: dict[NodeId, int] = {}
        self._latest: dict[NodeId, LiveReadings] = {}
        #: Attempts that their node may forget once their logs are durable, with the session.
        self._parked: dict[tuple[AttemptId, NodeId], effects.Forget] = {}
        self._is_closing = False
        #: Told of each heartbeat.
        self.on_heartbeat: Callable[[NodeId, Heartbeat], None] = lambda node_id, heartbeat: None
        brain.deliver = self.deliver
        brain.on_rebuilt = self.close_all
        logs.on_durable = self._durable
        logs.on_lost = partial(self._durable, refused=True)

    # ── looking ───────────────────────────────────────────────────────────────────────────────

    def latest(self, node_id: NodeId) -> LiveReadings | None:
        """What a node said last; None while it is not connected."""
        return self._latest.get(node_id) if node_id in self._live else None

    def is_connected(self, node_id: NodeId) -> bool:
        """Whether a node has a live session."""
        return node_id in self._live

    def launch(self, attempt_id: AttemptId) -> Launch | None:
        """What to start for an attempt; None when it is unknown or over."""
        attempt = self._brain.manager.attempt(attempt_id)
        task = None if attempt is None else self._brain.manager.task(attempt.task_id)
        if attempt is None or task is None or attempt.outcome is not None:
            return None
        return launch_of(task)

    # ── one connection ────────────────────────────────────────────────────────────────────────

    async def serve(self, websocket: WebSocket, node: NodeIdentity) -> None:
        """Runs the connection of an agent whose token was checked, from accept to close."""
        offered = websocket.scope.get("subprotocols", [])
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await websocket.accept(chosen)
        session = Session(
            websocket, node.node_id, self._codec, self._brain, self._logs, registry=self
        )
        try:
            if chosen is None:
                hint = "install the same version of FlowHive on both sides"
                self._turn(session, f"this server speaks {SUBPROTOCOL} and nothing else", hint)
            else:
                await self._greet(session, node)
                await session.run()
        except WebSocketDisconnect as error:
            session.close(close_codes.GOODBYE, f"the node closed the connection ({error.code})")
        except (WireError, BadNode) as error:
            session.close(close_codes.PROTOCOL, str(error))
        except StoreUnavailable as error:
            self._turn(session, error.text, try_again=True)
        finally:
            self._leave(session)
            await session.finish()

    async def _greet(self, session: Session, node: NodeIdentity) -> None:
        """Takes the hello and waits for the brain's word about it."""
        with anyio.move_on_after(HELLO_S) as scope:
            hello = await session.hello()
        if scope.cancelled_caught:
            raise WireError(f"no hello within {HELLO_S:.0f} s")
        if self._is_closing:
            session.close(close_codes.RESTART, "the server is stopping")
            return
        refused = refusal(hello, node.machine_id, self._live.get(session.node_id))
        if refused is not None:
            self._turn(session, refused.reason, refused.hint, try_again=refused.try_again)
            return
        unknown = await self._load_logs(session)
        number = self._next_session(session.node_id)
        session.number = number
        self._greeting[session.node_id, number] = session
        event = replace(joined(node, number, hello, session.peer_address), unknown=unknown)
        self._brain.post((event,), partial(self._hello_done, session))
        with anyio.move_on_after(GREETING_S) as scope:
            await session.greeted.wait()
        if scope.cancelled_caught:
            self._turn(session, "the server is too busy to take a node in", try_again=True)

    async def _load_logs(self, session: Session) -> tuple[AttemptId, ...]:
        """Loads marks of attempts that are long out of memory; gives those nobody knows of."""
        known: list[Attempt] = []
        unknown: list[AttemptId] = []
        for attempt_id in session.held:
            attempt = self._brain.manager.attempt(attempt_id)
            if attempt is None:
                query = partial(read_attempt, attempt_id=attempt_id)
                attempt = await self._store.call(query, durable=False)
            if attempt is not None:
                member = attempt.member_on(session.node_id)
                session.ranks[attempt_id] = 0 if member is None else member.rank
                known.append(attempt)
            else:
                unknown.append(attempt_id)
        if known:
            await self._logs.load(known)
        return tuple(unknown)

    def _rank(self, attempt_id: AttemptId, node_id: NodeId) -> int:
        """Which member of an attempt a node is; 0 of one that is no gang or is not known."""
        attempt = self._brain.manager.attempt(attempt_id)
        member = None if attempt is None else attempt.member_on(node_id)
        return 0 if member is None else member.rank

    def _next_session(self, node_id: NodeId) -> int:
        known = self._brain.manager.node(node_id)
        stored = 0 if known is None else known.session
        number = self._given[node_id] = max(stored, self._given.get(node_id, 0)) + 1
        return number

    def _hello_done(self, session: Session, error: Exception | None) -> None:
        if error is None:
            return
        text = error.text if isinstance(error, FluxhiveError) else str(error)
        self._turn(session, text, try_again=True)

    def _turn(
        self, session: Session, reason: str, hint: str = "", *, try_again: bool = False
    ) -> None:
        log.info("node turned away", extra={"node": session.node_id, "reason": reason})
        session.say_unnumbered(Turned(reason=reason, hint=hint, try_again=try_again))
        session.close(close_codes.TURNED, reason)
        session.greeted.set()

    def _leave(self, session: Session) -> None:
        """The connection is over: the brain is told, unless a newer one took its place."""
        session.is_open = False
        self._greeting.pop((session.node_id, session.number), None)
        if self._live.get(session.node_id) is session:
            del self._live[session.node_id]
            self._latest.pop(session.node_id, None)
        if session.number:
            reason = session.close_reason or "the connection broke"
            log.info(
                "node left",
                extra={"node": session.node_id, "session": session.number, "reason": reason},
            )
            left = NodeLeft(node_id=session.node_id, session=session.number, reason=reason)
            self._brain.post((left,))

    # ── what sessions tell (registry.py) ──────────────────────────────────────────────────────────

    def ended(self, session: Session, report: AttemptEnded) -> None:
        """A node reported an end; its logs have these lengths."""
        facts = report.facts
        rank = self._rank(report.attempt_id, session.node_id)
        self._logs.expect(report.attempt_id, *lengths_of(facts), rank=rank)

    def heard(self, session: Session, heartbeat: Heartbeat) -> None:
        """A heartbeat came and was answered."""
        now_ms = time.time_ns() // 1_000_000
        session.clock.note(heartbeat.wall_ms, now_ms)
        before = self._latest.get(session.node_id)
        self._latest[session.node_id] = newer(before, heartbeat, session.clock.offset_ms, now_ms)
        self.on_heartbeat(session.node_id, heartbeat)

    # ── what the brain says to nodes ──────────────────────────────────────────────────────────

    def deliver(self, said: list[NodeEffect]) -> None:
        """Carries out effects that are stored, in order. Never blocks."""
        forgets: dict[Session, list[AttemptId]] = {}
        for effect in said:
            if isinstance(effect, effects.Welcome):
                self._welcome(effect)
            elif isinstance(effect, effects.TurnAway):
                self._turn_away(effect)
            elif isinstance(effect, effects.Forget):
                session = self._forget(effect)
                if session is not None:
                    forgets.setdefault(session, []).append(effect.attempt_id)
            else:
                self._order(effect)
        for session, attempt_ids in forgets.items():
            self._say_forget(session, attempt_ids)

    def _session(self, effect: NodeEffect) -> Session | None:
        session = self._live.get(effect.node_id)
        return session if session is not None and session.number == effect.session else None

    def _order(self, effect: effects.Dispatch | effects.Stop) -> None:
        if isinstance(effect, effects.Dispatch):
            self._logs.register(effect.attempt)
        session = self._session(effect)
        if session is None:
            return  # Its next hello settles it.
        if isinstance(effect, effects.Dispatch):
            session.say_encoded(encoded_dispatch(effect))
        else:
            session.say(stop_of(effect))

    def _welcome(self, effect: effects.Welcome) -> None:
        session = self._greeting.pop((effect.node_id, effect.session), None)
        older = self._live.get(effect.node_id)
        if older is not None and older.number < effect.session:
            # Also when the newer one is gone already: what the older says does not count any more,
            # and its node must not take our answers for contact.
            older.close(close_codes.REPLACED, "a newer connection of this node took its place")
        if session is None or not session.is_open:
            return
        self._live[effect.node_id] = session
        marks: list[LogUpTo] = []
        for attempt_id in session.held:
            marks += self._logs.marks(attempt_id, rank=session.ranks.get(attempt_id, 0))
        session.say(
            Welcome(
                session=effect.session,
                heartbeat_ms=self._brain.settings.heartbeat_ms,
                server_version=__version__,
                capabilities=(
                    CAPABILITY_ZSTD_LOGS,
                    CAPABILITY_EXTRA_STREAMS,
                    CAPABILITY_PROCESS_STREAMS,
                ),
                reading_ms=self._gpu_reading_ms,
                log_marks=tuple(marks),
            )
        )
        log.info("node joined", extra={"node": effect.node_id, "session": effect.session})
        session.greeted.set()

    def _turn_away(self, effect: effects.TurnAway) -> None:
        session = self._greeting.pop((effect.node_id, effect.session), None)
        if session is not None:
            self._turn(session, effect.reason, effect.hint)
            return
        session = self._session(effect)
        if session is not None:
            self._turn(session, effect.reason, effect.hint, try_again=True)

    def _forget(self, effect: effects.Forget) -> Session | None:
        """The session that may be told now; None: parked, or there is none."""
        key = effect.attempt_id, effect.node_id
        if not self._logs.is_complete(effect.attempt_id, rank=self._rank(*key)):
            self._parked[key] = effect
            return None
        self._parked.pop(key, None)
        return self._session(effect)

    def _say_forget(self, session: Session, attempt_ids: list[AttemptId]) -> None:
        for attempt_id in attempt_ids:
            rank = self._rank(attempt_id, session.node_id)
            for mark in self._logs.marks(attempt_id, rank=rank):
                session.forget_mark(mark.channel, mark.stream)
            self._logs.forget(attempt_id, rank=rank)
        for start in range(0, len(attempt_ids), FORGET_IDS_MAX):
            some = tuple(attempt_ids[start : start + FORGET_IDS_MAX])
            session.say(Forget(session=session.number, attempt_ids=some))

    def _durable(self, where: AttemptLogs, stream: int, *, refused: bool = False) -> None:
        session = self._live.get(where.node_id)
        if session is not None:
            session.log_arrived(where, stream, refused=refused)
        parked = self._parked.get((where.attempt_id, where.node_id))
        if parked is not None:
            self.deliver([parked])

    # ── ending ────────────────────────────────────────────────────────────────────────────────

    def close_node(self, node_id: NodeId, reason: str) -> None:
        """Ends a node's connection, such as when its token was revoked."""
        for session in [*self._greeting.values(), *self._live.values()]:
            if session.node_id == node_id:
                session.close(close_codes.REVOKED, reason)
                session.greeted.set()

    def close_all(self, reason: str) -> None:
        """Ends every connection; the agents dial again and everything is settled anew."""
        self._parked.clear()
        for session in [*self._greeting.values(), *self._live.values()]:
            session.close(close_codes.RESTART, reason)
            session.greeted.set()

    async def run(self) -> None:
        """Cuts dead lines, until cancelled; then ends all connections."""
        try:
            while True:
                await anyio.sleep(LOOK_S)
                self._look()
        finally:
            self._is_closing = True
            self.close_all("the server is stopping")

    def _look(self) -> None:
        oldest_s = time.monotonic() - SILENCE_S
        for session in self._live.values():
            if session.last_heard_s < oldest_s:
                session.close(close_codes.SILENT, f"not heard for {SILENCE_S:.0f} s")
