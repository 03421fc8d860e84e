#!/usr/bin/env python3
"""Acts like docker or podman for tests: a daemon runs containers, their state lies in files.

Named `docker` or `podman` on PATH. Each call is recorded in `calls.jsonl` of its directory
(`CONTAINER_STAND_IN`), container by container in `<name>.json`. What it runs gets nothing but the
file of variables, as a container would, in the directory that is mounted as the working directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["CONTAINER_STAND_IN"])
ZERO = "0001-01-01T00:00:00Z"


def state_of(name: str) -> dict:
    try:
        return json.loads((HOME / f"{name}.json").read_text())
    except FileNotFoundError:
        fail(f"Error: No such container: {name}")


def save(name: str, state: dict) -> None:
    temporary = HOME / f".{name}.{os.getpid()}"
    temporary.write_text(json.dumps(state))
    temporary.rename(HOME / f"{name}.json")


def fail(text: str, code: int = 125) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def create(words: list[str]) -> None:
    options, flags = words[: words.index("--")], words[words.index("--") + 1 :]
    value = dict(itertools.pairwise(options))
    name, image = value["--name"], flags[0]
    if (HOME / f"{name}.json").exists():
        fail(f'Conflict. The container name "/{name}" is already in use')
    if (HOME / "away").exists():
        fail("Cannot connect to the Docker daemon at unix:///var/run/docker.sock")
    if "missing" in image:
        fail(f"Error response from daemon: manifest unknown: {image} not found")
    mounts = {}
    for option, mount in itertools.pairwise(options):
        if option == "--mount":
            fields = dict(part.partition("=")[::2] for part in mount.split(","))
            mounts[fields["target"]] = fields["source"]
    env = dict(line.split("=", 1) for line in Path(value["--env-file"]).read_text().splitlines())
    argv = [value["--entrypoint"], *flags[1:]]
    save(
        name,
        {
            "argv": argv,
            "env": env,
            "mounts": mounts,
            "workdir": value.get("--workdir", "/"),
            "State": {"Running": False, "ExitCode": 0, "Error": "", "StartedAt": ZERO, "Pid": 0},
        },
    )
    print(hashlib.sha256(name.encode()).hexdigest())  # as engines do: its id


def start(name: str) -> None:
    """The attached client: the daemon writes to what this has open, and goes on without it."""
    state_of(name)

    def told(*_: object) -> None:
        (HOME / f"{name}.client-told").touch()
        os._exit(143)

    signal.signal(signal.SIGTERM, told)
    save(f"start-{name}", {"name": name, "client": os.getpid()})
    while not (HOME / f"{name}.done").exists():
        time.sleep(0.02)
    sys.exit(int((HOME / f"{name}.done").read_text()))


def daemon() -> None:
    """Runs containers as its own children, as engines do, until it is killed."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    while True:
        for path in HOME.glob("start-*.json"):
            asked = json.loads(path.read_text())
            path.unlink()
            launch(asked["name"], asked["client"], running)
        for name, process in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[name]
                finish(name, Running=False, ExitCode=128 - code if code < 0 else code)
        time.sleep(0.01)


def launch(name: str, client: int, running: dict[str, subprocess.Popen[bytes]]) -> None:
    found = state_of(name)
    cwd = found["workdir"]
    for target, source in found["mounts"].items():
        if cwd == target or cwd.startswith(f"{target}/"):
            cwd = source + cwd[len(target) :]
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **found["env"]}
    streams = [os.open(f"/proc/{client}/fd/{n}", os.O_WRONLY | os.O_APPEND) for n in (1, 2)]
    try:
        process = subprocess.Popen(
            found["argv"],
            cwd=cwd,
            env={key: text for key, text in env.items() if key != "FLUXHIVE_COOKIE"},
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            start_new_session=True,
        )
    except OSError as error:
        finish(name, Error=f"exec: {(error.strerror or '').lower()}", ExitCode=127)
    else:
        running[name] = process
        found["State"].update(Running=True, Pid=process.pid, StartedAt="2026-01-01T00:00:00Z")
        save(name, found)
    finally:
        for stream in streams:
            os.close(stream)


def finish(name: str, **fields: object) -> None:
    found = state_of(name)
    found["State"].update(fields)
    save(name, found)
    (HOME / f"{name}.done").write_text(str(found["State"]["ExitCode"]))


def end(name: str, grace_s: float) -> None:
    state = state_of(name)["State"]
    until = time.monotonic() + grace_s
    for number in (signal.SIGTERM, signal.SIGKILL):
        if state_of(name)["State"]["Running"] and (number == signal.SIGKILL or grace_s):
            os.killpg(state["Pid"], number)
        while state_of(name)["State"]["Running"]:
            time.sleep(0.02)
            if number == signal.SIGTERM and time.monotonic() > until:
                break


def main(words: list[str]) -> None:
    verb, rest = words[0], words[1:]
    if verb == "daemon":
        daemon()
    with open(HOME / "calls.jsonl", "a") as calls:
        fcntl.flock(calls, fcntl.LOCK_EX)
        calls.write(json.dumps(words) + "\n")
    if verb == "create":
        create(rest)
    elif verb == "start":
        unknown = {*rest[:-1]} - {"--attach"}
        if unknown:
            fail(f"unknown flag: {unknown.pop()}")
        start(rest[-1])
    elif verb == "logs":
        fail("configured logging driver does not support reading", 1)
    elif verb == "wait":
        while state_of(rest[-1])["State"]["Running"]:
            time.sleep(0.02)
    elif verb == "inspect":
        print(json.dumps(state_of(rest[-1])["State"]))
    elif verb == "stop":
        end(rest[-1], float(rest[rest.index("--time") + 1]))
    elif verb == "kill":
        end(rest[-1], 0)
    elif verb == "rm":
        if (HOME / f"{rest[-1]}.json").exists():
            end(rest[-1], 0)
            (HOME / f"{rest[-1]}.json").unlink()
    else:
        fail(f"unknown verb {verb}")


main(sys.argv[1:])
