"""The processes of a chaos run: one server, many agents behind the proxy, each with a home."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from fluxhive import testing
from fluxhive.transport import Transport
from tests.helpers.cli_hive import COMMAND, until

from .proxy import Proxy

ROOT = Path(__file__).parents[2]
#: Room on the disk of an agent where it has one of its own; it wants 64 MiB of that to be free.
DISK_MIB = 160
GPUS = "2x80G"
#: Runs what follows with a boot id of its own, in a mount name space of its own.
WITH_BOOT_ID = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"',
)
#: What becomes of a journal that is lost.
DAMAGES = ("gone", "garbage", "bits flipped", "log cut short")
#: Ports for servers, below those that the kernel gives to connections: one that is taken while the
#: server is down would keep it from coming back.
PORTS = range(18_000, 28_000)


class Agent:
    """One agent: its process, its disk, its GPUs."""

    def __init__(self, number: int, home: Path, url: str, *, own_disk: bool) -> None:
        self.number = number
        self.home = home
        self.state = home / "state"
        self.state.mkdir(parents=True)
        self.has_own_disk = own_disk and self._mount()
        self.gpus = home / "gpus"
        self.gpus.mkdir()
        testing.make_gpus(self.gpus, GPUS)
        self.env = environment(home, self.state)
        self.env.update(
            FLOWHIVE_CONTROL_URL=url,
            FLOWHIVE_LABEL=f"n{number}",
            FLOWHIVE_FAKE_GPUS=str(self.gpus),
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.is_paused = False
        self._boot = home / f"boot-id-{uuid.uuid4().hex}"
        self._n_boots = 0
        self._boots_anew()
        self._prefix = [*WITH_BOOT_ID, str(self._boot)]
        self.can_reboot = os.getuid() == 0 and succeeds([*self._prefix, "true"])
        if not self.can_reboot:
            self._prefix = []

    def start(self, token: str) -> None:
        """Starts the agent; it is on its own from there."""
        self.env["FLOWHIVE_TOKEN"] = token
        words = ["run", "--allow-root"]
        self.process = launch(words, self.env, self.home, "agent.log", prefix=self._prefix)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        self.is_paused = False

    def reboot(self) -> None:
        """All that runs here is gone at once, and the next agent finds another boot id."""
        for _ in range(50):
            pids = self._pids()
            if not pids:
                break
            for pid in pids:
                kill(pid)
            time.sleep(0.02)
        if self.process is not None:
            self.process.wait(30)
        self.is_paused = False
        self._boots_anew()

    def _boots_anew(self) -> None:
        self._n_boots += 1
        self._boot.write_text(f"boot {self._n_boots} of n{self.number}\n")

    def _pids(self) -> list[int]:
        """All that has this agent's boot id: agent, launcher, shims and tasks, its descendants."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                is_here = self._boot.name in (place / "mountinfo").read_text()
                is_dead = (place / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue  # it ended meanwhile
            if is_here and not is_dead:
                found.append(int(place.name))
        return found

    def damage_journal(self, damage: str) -> None:
        """As a bad disk or a careless person leaves it; no agent runs."""
        for path in self.state.glob("agent/*/journal.db*"):
            is_log = path.suffix.endswith("-wal")
            if damage == "gone" or (damage == "garbage" and path.suffix != ".db"):
                path.unlink()
            elif damage == "garbage":
                path.write_bytes(b"no journal at all" * 500)
            elif damage == "bits flipped" and path.suffix == ".db":
                data = bytearray(path.read_bytes())
                for at in range(100, len(data), 997):
                    data[at] ^= 0x55
                path.write_bytes(data)
            elif damage == "log cut short" and is_log:
                # Behind what was written lies room for more.
                os.truncate(path, len(path.read_bytes().rstrip(b"\0")) // 2)

    def pause(self, on: bool) -> None:
        """SIGSTOP, SIGCONT."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)
            self.is_paused = on

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def runs(self) -> list[Path]:
        """Run directories of what has started here and not ended."""
        return [path.parent for path in self.state.glob("agent/*/runs/*/started")]

    def launcher_pid(self) -> int | None:
        """The agent's launcher, its child."""
        if self.process is None:
            return None
        try:
            path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
            return int(Path(path).read_text().split()[0])
        except (OSError, IndexError):
            return None

    def fill_disk(self) -> None:
        """Leaves no byte."""
        filler = os.open(self.state / "filler", os.O_WRONLY | os.O_CREAT)
        try:
            found = os.statvfs(self.state)
            free = found.f_bavail * found.f_frsize
            os.posix_fallocate(filler, 0, max(1, free))
        except OSError:
            return  # somebody took the last of it: full all the same
        finally:
            os.close(filler)

    def empty_disk(self) -> None:
        """There is room again."""
        (self.state / "filler").unlink(missing_ok=True)

    def end(self) -> None:
        """Kills everything of it, tasks included, and gives the disk back."""
        if self.is_alive:
            self.pause(False)
            self.kill()
        for run in self.runs():
            for key in ("pid", "shim_pid"):
                kill_recorded(run, key)
        if self.has_own_disk:
            time.sleep(0.3)
            subprocess.run(["umount", "--lazy", str(self.state)], check=False)

    def _mount(self) -> bool:
        if os.getuid() != 0:
            return False
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs"]
        return succeeds([*words, str(self.state)])


class Processes:
    """Server, proxy and agents."""

    def __init__(self, home: Path, n_agents: int, seed: int) -> None:
        self.home = home
        self.port = own_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = environment(home, home / "state")
        self.env["FLOWHIVE_CONTROL_URL"] = self.url
        self.server: subprocess.Popen[bytes] | None = None
        self.start_server()
        path = home / "state" / "server" / "admin-token"
        self.token = path.read_text().strip()
        self.proxy = Proxy(self.port, n_agents, seed)
        self.agents = [
            Agent(number, home / f"n{number}", f"http://127.0.0.1:{line.port}", own_disk=True)
            for number, line in enumerate(self.proxy.lines)
        ]
        for agent in self.agents:
            agent.start(self.token)

    def start_server(self) -> None:
        """Starts the server on its port and waits until it answers."""
        self.server = launch(
            ["server", "--port", str(self.port)], self.env, self.home, "server.log"
        )
        until(self._is_up, what="the server", limit_s=60)

    def kill_server(self) -> None:
        """SIGKILL."""
        assert self.server is not None
        self.server.kill()
        self.server.wait(30)

    def transport(self) -> Transport:
        """HTTP as the administrator, past the proxy; repeats what broke by itself."""
        return Transport(self.url, token=self.token)

    def close(self) -> None:
        """Ends all of it."""
        for agent in self.agents:
            agent.end()
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGCONT)
            self.kill_server()
        self.proxy.close()

    def _is_up(self) -> bool:
        try:
            Transport(self.url, sleep=lambda s: None).fetch("GET", "/api/v1/health")
        except Exception:
            return False
        return True


def own_port() -> int:
    """A port that no other hive on this machine takes: it follows from this process."""
    for step in range(len(PORTS)):
        port = PORTS[(os.getpid() * 7 + step) % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def environment(home: Path, state: Path) -> dict[str, str]:
    """Nothing of whoever runs this, but where Python finds this checkout and its packages."""
    places = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *map(os.path.abspath, places)]),
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "FLOWHIVE_STATE_DIR": str(state),
        "FLOWHIVE_CONFIG": str(home / "config.toml"),
    }


def launch(
    words: list[str], env: dict[str, str], cwd: Path, log: str, *, prefix: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """One of our commands, its words appended to a file."""
    command = [*prefix, *COMMAND, *words]
    with open(cwd / log, "ab") as file:
        return subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )


def succeeds(command: list[str]) -> bool:
    """Whether it can be done here."""
    return subprocess.run(command, capture_output=True).returncode == 0


def kill(pid: int) -> None:
    """SIGKILL, unless it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_recorded(run: Path, key: str) -> bool:
    """SIGKILL for the process that a ``started`` file names, if it is still that one."""
    try:
        record = json.loads((run / "started").read_bytes())
        pid, began = record[key], record["pid_start" if key == "pid" else "shim_start"]
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if stat[0] in "ZX" or int(stat[19]) != began:
            return False
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError, KeyError):
        return False
    return True
