"""Pipes that do nothing but carry output, for log_throughput.py to be held against.

``floor``: a file's bytes in frames of 192 KiB over a bare WebSocket, written at their offset and
answered with a count. ``lines``: one JSON message for each line, as many agents do it. Each side is
a process of its own; both print their CPU seconds.

    python log_pipes.py serve KIND TARGET   (prints its port, then the CPU it took)
    python log_pipes.py send KIND PORT SOURCE
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

FRAME_BYTES = 192 * 1024
WINDOW_BYTES = 2 * 1024 * 1024


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def serve_one(kind: str, target: str) -> None:
    """Takes one connection's bytes to the target file."""
    done = asyncio.Event()
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    async def take(connection: ServerConnection) -> None:
        at = 0
        async for frame in connection:
            data = frame if isinstance(frame, bytes) else json.loads(frame)["text"].encode()
            at += os.pwrite(handle, data, at)
            await connection.send(str(at))
        done.set()

    async with serve(take, "127.0.0.1", 0, compression=None, max_size=1 << 20) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await done.wait()
    os.close(handle)


async def send(kind: str, port: int, source: str) -> None:
    """Sends the source's bytes, never more than a window ahead of the answers."""
    size = os.path.getsize(source)  # noqa: ASYNC240  nothing else runs yet
    answered, sent = 0, 0
    moved = asyncio.Event()
    async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:

        async def hear() -> None:
            nonlocal answered
            while answered < size:
                answered = int(await connection.recv())
                moved.set()

        hearing = asyncio.get_running_loop().create_task(hear())
        with open(source, "rb") as file:  # noqa: ASYNC230  reading is what is measured
            while data := file.read(FRAME_BYTES) if kind == "floor" else file.readline():
                while sent - answered > WINDOW_BYTES:
                    moved.clear()
                    await moved.wait()
                sent += len(data)
                if kind == "floor":
                    await connection.send(data)
                else:
                    await connection.send(json.dumps({"task": "t-1", "text": data.decode()}))
        await hearing


def main() -> None:
    verb, kind = sys.argv[1:3]
    if verb == "serve":
        asyncio.run(serve_one(kind, sys.argv[3]))
    else:
        asyncio.run(send(kind, int(sys.argv[3]), sys.argv[4]))
    print(f"{cpu_s():.3f}", flush=True)


if __name__ == "__main__":
    main()
