"""The line between agents and server: a TCP proxy that can be cut, stopped one way, and slowed.

One listening port for each agent. Runs in a thread of its own; every method may be called from
any thread and returns once it is done.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

PIECE_BYTES = 64 * 1024
UP, DOWN = "up", "down"


class Line:
    """All connections of one agent, and how they are treated now."""

    def __init__(self, server: tuple[str, int], chance: random.Random) -> None:
        self._server = server
        self._chance = chance
        self.port = 0
        self._listening: asyncio.Server | None = None
        #: A pump that is to break off in the middle of what it has read next.
        self._cut_next = 0
        self.delay_s = 0.0
        self._open = {UP: asyncio.Event(), DOWN: asyncio.Event()}
        for way in self._open.values():
            way.set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.n_bytes = 0

    async def listen(self) -> None:
        """Takes connections on a port of its own."""
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._listening.sockets[0].getsockname()[1]

    def block(self, *ways: str) -> None:
        """Nothing passes these ways any more; nobody is told."""
        for way in ways:
            self._open[way].clear()

    def open(self) -> None:
        """Everything passes again, what waited first."""
        for way in self._open.values():
            way.set()

    def cut(self, *, in_frame: bool) -> int:
        """Breaks every connection, with a reset; with ``in_frame`` in the middle of what passes
        next. How many there were."""
        n_open = len(self._pairs)
        if in_frame:
            self._cut_next += n_open
        else:
            self._abort_all()
        return n_open

    def end(self) -> None:
        """Takes nothing new, and ends what there is."""
        if self._listening is not None:
            self._listening.close()
        self.delay_s = 0.0
        self.open()
        self._abort_all()

    def _abort_all(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A partition keeps new connections out, too: they hang, as their first packets would.
        await self._open[UP].wait()
        await self._open[DOWN].wait()
        try:
            there, back = await asyncio.open_connection(*self._server)
        except OSError:
            abort(writer)
            return
        pair = (writer, back)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(reader, back, UP), self._pump(there, writer, DOWN))
        except OSError:
            return  # one side is gone: so is the other, below
        finally:
            self._pairs.discard(pair)
            for each in pair:
                abort(each)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        while data := await reader.read(PIECE_BYTES):
            await self._open[way].wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            self.n_bytes += len(data)
            if self._cut_next:
                self._cut_next = 0
                writer.write(data[: self._chance.randrange(len(data))])
                await writer.drain()
                await asyncio.sleep(0.01)
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def abort(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset instead of a goodbye."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    """The lines of all agents, in a thread."""

    def __init__(self, server_port: int, n_lines: int, seed: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        server = ("127.0.0.1", server_port)
        chance = random.Random(seed)
        self.lines = [self._call(_line(server, chance)) for _ in range(n_lines)]

    def cut(self, number: int, *, in_frame: bool) -> int:
        """See ``Line.cut``."""

        async def do() -> int:
            return self.lines[number].cut(in_frame=in_frame)

        return int(self._call(do()))

    def block(self, number: int, *ways: str) -> None:
        """See ``Line.block``."""

        async def do() -> None:
            self.lines[number].block(*ways)

        self._call(do())

    def open(self, number: int) -> None:
        """See ``Line.open``."""

        async def do() -> None:
            self.lines[number].open()

        self._call(do())

    def delay(self, number: int, delay_s: float) -> None:
        """Every piece that passes is held up so long."""
        self.lines[number].delay_s = delay_s

    def close(self) -> None:
        """Ends every connection, then the thread."""
        self._call(_end_all(self.lines))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def _call(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


async def _end_all(lines: list[Line]) -> None:
    """While the loop still runs: what is left to the collector finds it closed."""
    for line in lines:
        line.end()
    me = asyncio.current_task()
    if others := asyncio.all_tasks() - {me}:
        await asyncio.wait(others, timeout=5)
    for each in asyncio.all_tasks() - {me}:
        each.cancel()
    await asyncio.sleep(0)


async def _line(server: tuple[str, int], chance: random.Random) -> Line:
    line = Line(server, chance)
    await line.listen()
    return line
