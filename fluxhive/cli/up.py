"""`fluxhive up`: starts server and agent on this machine, and watches them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from fluxhive import config, env, places
from fluxhive.agent import system
from fluxhive.cli import demo, messages, options, processes, sign_in
from fluxhive.core.errors import Conflict, FluxhiveError, Unreachable
from fluxhive.core.node import NodeState
from fluxhive.core.task import TaskState
from fluxhive.sdk.calls import Calls
from fluxhive.transport import Transport

PORTS_TRIED = 20
READY_S = 60.0
"""A server's first start on a slow disk takes some seconds; beyond this something is wrong."""
POLL_S = 0.05
WATCH_S = 0.5


class Hive(NamedTuple):
    """What `up` started, or found."""

    client: Calls
    up: places.Up
    server: subprocess.Popen[bytes] | None
    """None: it ran already."""
    agent: subprocess.Popen[bytes] | None


@click.command()
@click.option("--demo", "is_demo", is_flag=True, help="Submit the bundled training, and watch it.")
@click.option("--detach", is_flag=True, help="Do not stay in the foreground.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"Port of the server. Default: {config.DEFAULT_PORT}, or the next free one of 20.",
)
@options.log_level
def command(*, is_demo: bool, detach: bool, port: int | None, log_level: str | None) -> int:
    """Start the control server and an agent on this machine.

    It stays in the foreground and Ctrl-C stops both; tasks that run keep running, and the next
    `fluxhive up` takes them up again. With --detach both run on in the background.
    """
    system.refuse_unbuilt()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # ignored under nohup(1)
            signal.signal(number, _interrupt)
    hive = bring_up(port, log_level)
    code = 0
    is_left_running = detach or hive.server is None
    try:
        _warn_of_other_server(hive.up.url)
        if is_demo:
            code = demo.run(hive.client)
        _tell_where(hive)
        if is_left_running:
            return code
        messages.say("\nCtrl-C stops server and agent")
        _watch(hive)
        is_left_running = True  # one of them ended by itself or by `down`: nothing left to keep
        return _take_rest_down(hive)
    except KeyboardInterrupt:
        if hive.server is None:
            return 130
        _take_down(hive)
        is_left_running = True
        return 0
    finally:
        if not is_left_running:
            _take_down(hive)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def bring_up(port: int | None = None, log_level: str | None = None) -> Hive:
    """Server and agent, running and ready; what runs already is left as it is."""
    system.refuse_unbuilt()
    directory = places.server_dir()
    if places.moved_off_network():
        messages.say(
            f"the home directory is on the network, so state is kept in {directory.parent}"
        )
    noted = places.read_up()
    server = None
    if noted is not None and processes.ours(noted):
        messages.say(f"already running at {noted.url}")
        up = noted
    else:
        up, server = _start_server(directory, port, log_level)
        up = _keep_agent(up, noted)
    client = Calls(transport=Transport(up.url, token=places.read_admin_token()))
    agent = None
    try:
        if not processes.is_alive(up.agent_pid, "run"):
            agent = _start_agent(client, up.url, log_level)
            up = up._replace(agent_pid=agent.pid)
        places.write_up(up)
    except BaseException:
        if server is not None:
            processes.stop(server.pid, "server")
        raise
    return Hive(client, up, server, agent)


def _start_server(
    directory: Path, port: int | None, log_level: str | None
) -> tuple[places.Up, subprocess.Popen[bytes]]:
    chosen = _free_port(port, places.read_up())
    url = f"http://127.0.0.1:{chosen}"
    log = directory / "server.log"
    words = ["server", "--port", str(chosen), *_level(log_level)]
    process = processes.start(words, log, {})
    try:
        _until(lambda: processes.health(url) is not None, "server", process, log)
        found = processes.health(url)
    except BaseException:
        process.terminate()
        raise
    return places.Up(url, process.pid, None, "" if found is None else found.server_id), process


def _keep_agent(up: places.Up, before: places.Up | None) -> places.Up:
    """The new server with the agent of the one before it, if that still runs and finds it."""
    if before is None or not processes.is_alive(before.agent_pid, "run"):
        return up
    if before.url != up.url:
        processes.stop(before.agent_pid, "run")
        return up
    return up._replace(agent_pid=before.agent_pid)


def _start_agent(client: Calls, url: str, log_level: str | None) -> subprocess.Popen[bytes]:
    log = places.agent_dir() / "agent.log"
    token = client.transport.token
    variables = {env.CONTROL_URL.name: url}
    if token is not None:
        # Whatever server the configuration names, this agent belongs to the one beside it.
        variables |= {env.TOKEN.name: token, env.USERNAME.name: "", env.PASSWORD.name: ""}
    words = ["run", *_level(log_level)]
    if os.getuid() == 0:
        # Who starts a hive of their own as root has decided; a node of others must be told.
        messages.warn("this is root, so tasks run as root; start it as a plain user if you can")
        words.append("--allow-root")
    process = processes.start(words, log, variables)
    try:
        _until(lambda: _is_registered(client), "agent", process, log)
    except BaseException:
        process.terminate()
        raise
    return process


def _is_registered(client: Calls) -> bool:
    here = socket.gethostname()
    return any(
        node.state is NodeState.READY and node.hostname in ("", here) for node in client.nodes()
    )


def _until(
    is_ready: Callable[[], bool], name: str, process: subprocess.Popen[bytes], log: Path
) -> None:
    until = time.monotonic() + READY_S
    while not is_ready():
        if process.poll() is not None:
            raise processes.ended_early(name, process, log)
        if time.monotonic() > until:
            raise Unreachable(
                f"the {name} is not ready after {READY_S:g} seconds", hint=f"see its log: {log}"
            )
        time.sleep(POLL_S)


def _free_port(wanted: int | None, before: places.Up | None) -> int:
    candidates: list[int] = [*range(config.DEFAULT_PORT, config.DEFAULT_PORT + PORTS_TRIED)]
    if wanted is not None:
        candidates = [wanted]
    elif before is not None:
        # Agents and browsers know the server by its last port.
        last_port: int | None = urlsplit(before.url).port
        candidates = [last_port or config.DEFAULT_PORT, *candidates]
    for port in candidates:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    first, last = candidates[0], candidates[-1]
    which = f"port {first} is" if first == last else f"the ports {first} to {last} are all"
    raise Conflict(f"{which} in use", hint="choose another: fluxhive up --port PORT")


def _level(log_level: str | None) -> list[str]:
    return [] if log_level is None else ["--log-level", log_level]


def _warn_of_other_server(url: str) -> None:
    found = config.resolve()["control_base_url"]
    if str(found.value).rstrip("/") != url:
        messages.warn(
            f"`fluxhive` without `--control-url` talks to another server, {found.value} "
            f"(from {found.origin})"
        )


def _tell_where(hive: Hive) -> None:
    root, activate = places.state_root(), _activate()
    for title, value in (
        ("dashboard", sign_in.link(hive.client) or hive.up.url),
        ("", "(the link signs a browser in, once; another: fluxhive open)"),
        ("server", hive.up.url),
        ("state", str(root)),
        ("server's log", str(root / "server" / "server.log")),
        ("agent's log", str(root / "agent" / places.machine_id() / "agent.log")),
        *(() if activate is None else (("first", f". {activate}   (in another terminal)"),)),
        ("submit", "fluxhive submit -f -- python train.py"),
        ("look", "fluxhive ps, fluxhive nodes, fluxhive gpus"),
        ("stop", "fluxhive down, with --stop-tasks also what runs"),
    ):
        messages.say(f"  {title:<13} {value}")


def _activate() -> str | None:
    """The file that lets another shell find `fluxhive`; None: it is found as it is."""
    file = Path(sys.prefix) / "bin" / "activate"
    is_found = "VIRTUAL_ENV" in os.environ or sys.prefix == sys.base_prefix
    return None if is_found or not file.exists() else str(file)


def _watch(hive: Hive) -> None:
    """Returns when one of the two has ended."""
    children = [child for child in (hive.server, hive.agent) if child is not None]
    while all(child.poll() is None for child in children):
        time.sleep(WATCH_S)


def _take_rest_down(hive: Hive) -> int:
    code = 0
    for name, child in (("server", hive.server), ("agent", hive.agent)):
        if child is not None and child.poll():
            messages.warn(f"the {name} ended with code {child.returncode}; see its log")
            code = 1
    _stop_both(hive)
    if code == 0:
        messages.say("\nserver and agent were stopped; `fluxhive up` starts them again")
    return code


def _take_down(hive: Hive) -> None:
    messages.say("\nstopping server and agent")
    running = _running(hive.client)
    _stop_both(hive)
    if running:
        noun = "task keeps" if running == 1 else "tasks keep"
        messages.say(
            f"{running} {noun} running; the next `fluxhive up` takes up what runs, "
            "`fluxhive down --stop-tasks` stops it"
        )


def _running(client: Calls) -> int:
    try:
        return sum(1 for _ in client.tasks(state=TaskState.ACTIVE))
    except FluxhiveError:
        return 0


def _stop_both(hive: Hive) -> None:
    for child, verb in ((hive.agent, "run"), (hive.server, "server")):
        if child is not None:
            processes.stop(child.pid, verb)
            child.wait()
    places.forget_up()
