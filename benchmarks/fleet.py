"""What a fleet that is only there costs the server: heartbeats with eight GPUs each.

    python benchmarks/fleet.py [--agents 1000] [--seconds 30]

One process plays the agents: each is welcome, then says every two seconds how its eight GPUs are
(memory, utilization, temperature, power, each of them changed) with a sample of each for the
history. Prints the server's processor time a heartbeat, as part of one core, and its memory. The
same fleet without GPUs comes first, so that the price of readings is seen apart; last, each node
runs a task on all its GPUs, whose memory stands still while the rest changes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import tempfile
import time
from pathlib import Path

import psutil
from own_hive import heading
from reconnect import HEARTBEAT_S, Agent, Server, until_all

from fluxhive.core.node import AttemptUsage, GpuReport, Inventory
from fluxhive.core.reports import AttemptAccepted, AttemptStarted
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.agent import Dispatch, GpuSample, Heartbeat, ServerMessage
from fluxhive.protocol.link import Link

N_GPUS, GPU_MIB = 8, 81_920


class GpuAgent(Agent):
    """An agent whose GPUs are in use, or that has none."""

    def __init__(self, url: str, number: int, token: str, *, n_gpus: int) -> None:
        super().__init__(url, number, token)
        self._uuids = [GpuUuid(f"GPU-{number:05d}-{index}") for index in range(n_gpus)]
        self.n_sent = 0
        #: It runs a task, and that is what the task takes of each GPU.
        self.is_busy = asyncio.Event()
        self._uses: tuple[AttemptUsage, ...] = ()

    def hears(self, link: Link[ServerMessage], message: ServerMessage) -> None:
        if isinstance(message, Dispatch):
            attempt_id, epoch = message.attempt_id, message.epoch
            link.send(AttemptAccepted(attempt_id=attempt_id, epoch=epoch))
            link.send(AttemptStarted(attempt_id=attempt_id, epoch=epoch, pid=1, age_ms=0))
            self._uses = (AttemptUsage(attempt_id=attempt_id, used_mib=GPU_MIB // 2),)
            self.is_busy.set()

    def inventory(self) -> Inventory:
        return Inventory(cpus=64, memory_mib=512_000, gpus=tuple(map(self._report, self._uuids)))

    def heartbeat(self) -> Heartbeat:
        self.n_sent += 1
        now_ms = time.monotonic_ns() // 1_000_000
        reports = tuple(map(self._report, self._uuids))
        samples = tuple(
            GpuSample(
                at_ms=now_ms,
                uuid=each.uuid,
                used_mib=each.used_mib,
                utilization_percent=each.utilization_percent,
                attempts=each.attempts,
            )
            for each in reports
        )
        return Heartbeat(
            sent_at_ms=now_ms,
            gpus=reports,
            samples=samples,
            cpu_percent=random.randint(0, 100),
            memory_used_mib=random.randint(10_000, 400_000),
            wall_ms=time.time_ns() // 1_000_000,
        )

    def _report(self, uuid: GpuUuid) -> GpuReport:
        return GpuReport(
            uuid=uuid,
            index=int(uuid[-1]),
            model="NVIDIA H100 80GB HBM3",
            total_mib=GPU_MIB,
            used_mib=random.randint(500, GPU_MIB),
            utilization_percent=random.randint(0, 100),
            temperature_c=random.randint(30, 80),
            power_w=random.randint(70, 700),
            power_limit_w=700,
            attempts=self._uses,
        )


async def measure(
    server: Server, agents: list[GpuAgent], seconds: float, *, is_busy: bool = False
) -> str:
    """One fleet, from the last welcome on, or from the start of the last task."""
    tasks = [asyncio.get_running_loop().create_task(agent.run()) for agent in agents]
    await until_all(list[Agent](agents), time.monotonic(), 180.0)
    if is_busy:
        await asyncio.to_thread(submit, server, len(agents))
        for agent in agents:
            await agent.is_busy.wait()
    await asyncio.sleep(3 * HEARTBEAT_S)
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    began_s, before_s = time.monotonic(), sum(process.cpu_times()[:2])
    sent = sum(agent.n_sent for agent in agents)
    await asyncio.sleep(seconds)
    cpu_s = sum(process.cpu_times()[:2]) - before_s
    sent, took_s = sum(agent.n_sent for agent in agents) - sent, time.monotonic() - began_s
    for task in tasks:
        task.cancel()
    n_joined = sum(agent.welcome_at_s > 0 for agent in agents)
    return (
        f"{n_joined} agents: {sent / took_s:.0f} heartbeats/s of {len(agents) / HEARTBEAT_S:.0f}, "
        f"{100 * cpu_s / took_s:.1f} % of a core, {1e6 * cpu_s / max(1, sent):.0f} us each, "
        f"server {server.rss_mib():.0f} MiB"
    )


def submit(server: Server, n_tasks: int) -> None:
    """Tasks that take all GPUs of a node each."""
    transport, spec = server.transport(), TaskSpec(command=("true",), request=Request(gpus=N_GPUS))
    for _ in range(n_tasks):
        transport.fetch("POST", "/api/v1/tasks", body=spec)


def fleet(n_agents: int, n_gpus: int, seconds: float, *, is_busy: bool = False) -> str:
    """With a server of its own."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        try:
            agents = [
                GpuAgent(server.url, n, token, n_gpus=n_gpus)
                for n, token in enumerate(server.node_tokens(n_agents))
            ]
            return asyncio.run(measure(server, agents, seconds, is_busy=is_busy))
        finally:
            server.kill()


def main() -> None:
    """With GPUs and without."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    heading("fleet")
    for n_gpus, is_busy in ((0, False), (N_GPUS, False), (N_GPUS, True)):
        told = fleet(options.agents, n_gpus, options.seconds, is_busy=is_busy)
        print(f"  {n_gpus} GPUs a node{' in use' * is_busy}: {told}", flush=True)


if __name__ == "__main__":
    main()
