"""Puts small stand-ins in the place of server and agent, for tests of the processes around them.

The interpreter imports a module of this name at start when its directory is on PYTHONPATH. The
server answers health, nodes and tasks; the agent says that it is there, and waits.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

STATE = Path(os.environ.get("FLOWHIVE_STATE_DIR", "/nonexistent"))


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


class Handler(BaseHTTPRequestHandler):
    """The few answers that `up` and `down` need."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/api/v1")
        ready = (STATE / "agent-ready").exists()
        tasks = STATE / "tasks.json"
        if path == "/nodes":
            self._answer({"items": [NODE] if ready else []})
        elif path == "/tasks":
            self._answer({"items": json.loads(tasks.read_text()) if tasks.exists() else []})
        elif path.endswith("/wait"):
            self._answer(json.loads(tasks.read_text())[0] | {"state": "cancelled"})
        else:
            self._answer({"status": "ok", "version": "0", "server_id": f"s-{os.getpid()}"})

    def do_POST(self) -> None:
        (STATE / "cancelled").write_text(self.path)
        self._answer(json.loads((STATE / "tasks.json").read_text())[0])

    def do_PATCH(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with (STATE / "patched").open("a") as file:
            file.write(body + "\n")
        self._answer(NODE)

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        return


NODE: dict[str, Any] = {
    "id": "n-1",
    "label": "here",
    "hostname": socket.gethostname(),
    "state": "ready",
    "draining": False,
    "agent_version": "0",
    "cpus": 1,
    "cpus_reserved": 0,
    "memory_mib": 1,
}


def serve(options: Any) -> int:
    """The server's main."""
    if os.environ.get("STAND_IN_SERVER_FAILS"):
        sys.stderr.write("the disk is on fire\n")
        return 3
    stopped = _stop_on_signals()
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Path(options.state_dir, "admin-token").write_text("fh_u_admin\n")
    stopped.wait()
    server.shutdown()
    return 0


def work(settings: Any, *, allow_root: bool, stop_tasks_on_exit: bool) -> int:
    """The agent's main."""
    stopped = _stop_on_signals()
    (STATE / "agent-ready").write_text(f"{settings.control_base_url} {settings.token}")
    stopped.wait()
    (STATE / "agent-ready").unlink()
    return 0


for name, function in (("fluxhive.server.app", serve), ("fluxhive.agent.runner", work)):
    module = types.ModuleType(name)
    module.main = function  # type: ignore[attr-defined]
    sys.modules[name] = module
    package, _, attribute = name.rpartition(".")
    parent = sys.modules.setdefault(package, __import__(package, fromlist=["x"]))
    setattr(parent, attribute, module)
