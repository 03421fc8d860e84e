"""A line between agent and server as long and thin as wanted, that repeats frames when told to.

The chaos run's ``Line`` cuts and blocks; this one adds what a modem does: so many bytes a second,
and each byte on its way for so long. Nothing is kept back for a better moment: what the agent sends
in one go waits in this queue, and what it sends afterwards comes afterwards.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

from tests.chaos.proxy import Line, Proxy

BYTES_AT_ONCE = 512


class SlowLine(Line):
    """See the module's docstring."""

    def __init__(self, server: tuple[str, int], chance: random.Random) -> None:
        super().__init__(server, chance)
        self.bytes_per_s: float | None = None
        self.latency_s = 0.0
        #: So many WebSocket frames of the agent are sent twice from now on.
        self.n_repeats = 0

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        if self.bytes_per_s is None:
            await super()._pump(_Repeating(reader, self) if way == "up" else reader, writer, way)  # type: ignore[arg-type]
            return
        loop = asyncio.get_running_loop()
        flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def arrive() -> None:
            while True:
                at_s, data = await flying.get()
                await asyncio.sleep(max(0.0, at_s - loop.time()))
                if not data:
                    return
                writer.write(data)
                await writer.drain()

        async def leave() -> None:
            assert self.bytes_per_s is not None
            while data := await reader.read(BYTES_AT_ONCE):
                await self._open[way].wait()
                await asyncio.sleep(len(data) / self.bytes_per_s)
                self.n_bytes += len(data)
                flying.put_nowait((loop.time() + self.latency_s, data))
            flying.put_nowait((loop.time() + self.latency_s, b""))

        await asyncio.gather(leave(), arrive())


class _Repeating:
    """A reader that hands out whole WebSocket frames where there are some, some of them twice."""

    def __init__(self, reader: asyncio.StreamReader, line: SlowLine) -> None:
        self._reader = reader
        self._line = line
        self._is_upgraded = False
        #: The hello: a second one on the same connection is refused, as it should be.
        self._is_first = True

    async def read(self, most: int) -> bytes:
        if not self._is_upgraded:
            data = await self._reader.read(most)
            # The agent says nothing more until its request was answered.
            self._is_upgraded = b"upgrade: websocket\r\n" in data.lower()
            return data
        try:
            frame = await self._frame()
        except asyncio.IncompleteReadError as error:
            return error.partial
        is_first, self._is_first = self._is_first, False
        if self._line.n_repeats and not is_first:
            self._line.n_repeats -= 1
            return frame + frame
        return frame

    async def _frame(self) -> bytes:
        """One masked frame (RFC 6455 §5.2)."""
        head = await self._reader.readexactly(2)
        length = head[1] & 0x7F
        if length >= 126:
            more = await self._reader.readexactly(2 if length == 126 else 8)
            head, length = head + more, int.from_bytes(more, "big")
        return head + await self._reader.readexactly(4 + length)


@contextmanager
def slow_line(server_port: int, *, seed: int = 1) -> Iterator[tuple[Proxy, SlowLine]]:
    """A proxy with one such line; its ``port`` is where to dial."""
    proxy = Proxy(server_port, 0, seed)

    async def make() -> SlowLine:
        line = SlowLine(("127.0.0.1", server_port), random.Random(seed))
        await line.listen()
        return line

    line: SlowLine = proxy._call(make())
    proxy.lines.append(line)
    try:
        yield proxy, line
    finally:
        proxy.close()
