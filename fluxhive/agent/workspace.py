"""Run directories: made before an attempt starts, removed when the server has everything.

``<runs>/<attempt id>/`` is all that agent and shim share; run_directory.py says what stands in it.
Here it is filled: the launch plan of the core becomes ``spec.json``. Also the way back, for an
agent whose journal is lost. Everything in here blocks and is called in worker threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from fluxhive.core.archive import BadArchive
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import Conflict, FluxhiveError, InternalError, RemoteError, Unreachable
from fluxhive.core.events import DispatchReceived, NodeEvent, WorkspaceFailed, WorkspaceReady
from fluxhive.core.interpreter import PythonFound
from fluxhive.core.launch_plan import INHERITED, LaunchPlan, NodeFacts, plan_launch
from fluxhive.core.values import AttemptId, GpuUuid, Mib
from fluxhive.protocol.agent import Launch

from . import process
from .code_cache import CodeCache, NotWanted
from .containers import LEAD_MARGIN_MS, Containers, Enclosed, container_id, remove_container
from .former_life import is_spent
from .gpu_libraries import capped
from .launching import Unprepared, check_in_code, check_port, python_of, venv_bin_of, write_new
from .output_files import make_apart
from .positioned import write_at
from .run_directory import RunPhase, RunSpec, acknowledge, inspect_run, read_spec, write_spec
from .spare_rooms import SpareRooms
from .task_user import TaskUser, hand_over

log = logging.getLogger(__name__)

#: A shim that could not tell its end keeps its lock and record open this long, for an agent that is
#: slow or being restarted; after that the record on the disk has to do.
LINGER_MS = 10 * 60_000
#: Tasks are ended before the agent when the host runs out of memory (proc(5): -1000 to 1000).
OOM_SCORE_ADJ = 300
#: A working directory that was there is not looked for again so soon; the shim looks anyway.
DIRECTORY_SEEN_S = 5.0
_CONTACT_DIGITS = 20
_CONTROL_FILES = (
    "spec.json",
    "shim.lock",
    ".exit.tmp",
    ".started.spare",
    "started",
    "exit",
    "gpu-use",
    "done",
    "stop",
)
_OUTPUT_FILES = ("stdout", "stderr")


class Workspace:
    """All run directories of this node, and the contact file that its shims read."""

    def __init__(
        self,
        runs: Path,
        contact: Path,
        *,
        label: str = "this machine",
        fetch: Callable[[AttemptId], Launch] | None = None,
        keep_output: bool = False,
        code: CodeCache | None = None,
        containers: Containers | None = None,
        user: TaskUser | None = None,
    ) -> None:
        """``fetch`` gets a launch that was too large to be sent; ``keep_output``: the files with
        what tasks printed stay when the rest is removed; ``code``: where tasks' code comes from;
        ``user``: as whom tasks run, where that is not the agent."""
        runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._user = user
        self.root = str(runs)
        self._contact_path = str(contact)
        self._label = label
        self._fetch = fetch
        self._keep_output = keep_output
        #: Where output is kept, directories are not there to be used again.
        self._spare = None if keep_output else SpareRooms(runs.with_name("spare"))
        self._code = code
        self._containers = containers or Containers(label)
        #: Cookie → attempt, to know an attempt's processes by.
        self.cookies: dict[str, str] = {}
        self._cgroups: dict[AttemptId, str] = {}
        self._cookie_of: dict[AttemptId, str] = {}
        #: Working directory → until when it need not be looked at again.
        self._seen_directories: dict[str, float] = {}
        #: Which index each GPU has now, and what tasks are given to find them (``Gpus``).
        self.gpu_indexes: Callable[[], Mapping[GpuUuid, int]] = dict
        #: How much memory each GPU has in all.
        self.gpu_sizes: Callable[[], Mapping[GpuUuid, Mib]] = dict
        self.gpu_env: Mapping[str, str] = {}
        #: Whether somebody takes the output of each of several processes apart.
        self.takes_processes: Callable[[], bool] = lambda: False
        #: What tasks inherit of the agent's own, picked once instead of for each task.
        self._environ = {
            name: value
            for name, value in os.environ.items()
            if name in INHERITED or name.startswith("LC_")
        }
        self._home = os.environ.get("HOME") or os.path.expanduser("~")
        if user is not None:
            self._environ |= user.environ
            self._home = user.home

    def directory(self, attempt_id: AttemptId) -> str:
        """Where an attempt lives."""
        return f"{self.root}/{attempt_id}"

    def known_as(self, attempt_id: AttemptId) -> tuple[str | None, str | None]:
        """Its cgroup, and what the engine calls its container; None: it has none."""
        return self._cgroups.get(attempt_id), container_id(self.directory(attempt_id))

    # ── before ────────────────────────────────────────────────────────────────────────────────

    def is_quick(self, launch: Launch | None) -> bool:
        """Whether ``prepare`` will look at nothing but the run directory's own disk."""
        if launch is None or launch.code is not None or launch.image is not None:
            return False
        seen_until_s = self._seen_directories.get(launch.workdir or self._home, 0.0)
        names_none = launch.venv is None and launch.python is None
        return names_none and seen_until_s > time.monotonic()

    def is_slow(self, launch: Launch | None) -> bool:
        """Whether ``prepare`` may have to fetch something from the server."""
        return launch is None or launch.code is not None

    def prepare(
        self,
        attempt: NodeAttempt,
        launch: Launch | None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> NodeEvent:
        """Makes the run directory. ``is_wanted``: False once the attempt is being stopped."""
        attempt_id = attempt.dispatch.attempt_id
        try:
            if launch is None:
                if self._fetch is None:
                    raise Unprepared("nobody says what is to be started")
                launch = self._fetched(attempt_id)
            self._make(attempt.dispatch, launch, is_wanted)
        except Unprepared as error:
            return WorkspaceFailed(
                attempt_id=attempt_id,
                detail=error.detail,
                elsewhere=error.elsewhere,
                for_now=error.for_now,
            )
        except FluxhiveError as error:
            # The server may be back in a moment; anything else stays true on this node.
            for_now = isinstance(error, Unreachable | RemoteError)
            return WorkspaceFailed(
                attempt_id=attempt_id, detail=error.text, elsewhere=True, for_now=for_now
            )
        except OSError as error:
            detail = f"the run directory cannot be made on node {self._label}: {error.strerror}"
            return WorkspaceFailed(attempt_id=attempt_id, detail=detail, elsewhere=True)
        return WorkspaceReady(attempt_id=attempt_id)

    def _fetched(self, attempt_id: AttemptId) -> Launch:
        assert self._fetch is not None
        try:
            return self._fetch(attempt_id)
        except Conflict as error:
            # What the task asks for does not exist any more, on whatever node.
            raise Unprepared(error.text) from error

    def _make(
        self, dispatch: DispatchReceived, launch: Launch, is_wanted: Callable[[], bool]
    ) -> None:
        attempt_id = dispatch.attempt_id
        cookie = secrets.token_hex(16)
        directory = self.directory(attempt_id)
        if launch.image is not None and self._user is not None:
            text = f"node {self._label} runs tasks as {self._user.name}, and none in containers"
            raise Unprepared(text, elsewhere=True)
        venv_bin = None if launch.venv is None else venv_bin_of(launch.venv)
        facts = NodeFacts(
            label=self._label,
            agent_env=self._environ,
            home=self._home,
            gpu_indexes=self.gpu_indexes() if dispatch.reservation.gpus else {},
            venv_bin=venv_bin,
            venv_is_conda=venv_bin is not None and os.path.isdir(f"{launch.venv}/conda-meta"),
            secrets_dir=f"{directory}/secrets",
            code_dir=f"{directory}/code",
            run_dir=directory,
            python=self._python(launch),
            gpu_env=self.gpu_env,
            takes_processes=os.name == "posix" and self.takes_processes(),
        )
        if dispatch.rank == 0 and dispatch.rendezvous is not None:
            check_port(dispatch)
        plan = self._capped(plan_launch(launch, dispatch, facts, cookie=cookie), launch, dispatch)
        n_apart = plan.n_processes_apart
        enclosed = None
        if launch.image is not None:
            enclosed = self._containers.enclose(launch, dispatch, plan, directory)
            plan = enclosed.plan
        elif launch.code is None or not plan.cwd.startswith(f"{directory}/"):
            self._check_directory(plan.cwd)
        spec = self._spec(launch, dispatch, plan, cookie, enclosed)
        if self._spare is None or not self._spare.take(directory):
            os.mkdir(directory, 0o700)
        if launch.code is not None:
            self._copy_code(launch.code, attempt_id, facts.code_dir, is_wanted)
            inner = launch.workdir if enclosed is not None else None
            check_in_code(f"{facts.code_dir}/{inner}" if inner else plan.cwd, facts.code_dir)
        if launch.secrets:
            os.mkdir(facts.secrets_dir, 0o700)
        for path, content in plan.files.items():
            write_new(path, content)
        if n_apart:
            make_apart(directory, n_apart)
        if self._user is not None:
            hand_over(directory, self._user)
        write_spec(directory, spec)
        self._note(attempt_id, spec)

    def _spec(
        self,
        launch: Launch,
        dispatch: DispatchReceived,
        plan: LaunchPlan,
        cookie: str,
        enclosed: Enclosed | None,
    ) -> RunSpec:
        user = self._user
        attempt_id = dispatch.attempt_id
        cgroup = process.make_cgroup(attempt_id, cookie) if dispatch.reservation.gpus else None
        return RunSpec(
            attempt=attempt_id,
            argv=list(plan.argv),
            env=plan.env,
            cwd=plan.cwd,
            cookie=cookie,
            grace_ms=dispatch.grace_ms + (LEAD_MARGIN_MS if enclosed and enclosed.leads else 0),
            time_limit_ms=dispatch.time_limit_ms,
            failover_ms=dispatch.failover_ms,
            contact_path=self._contact_path if dispatch.failover_ms is not None else None,
            merge_output=launch.merge_output,
            linger_ms=LINGER_MS,
            oom_score_adj=OOM_SCORE_ADJ,
            cgroup=cgroup,
            leads=enclosed is not None and enclosed.leads,
            reusable=not dispatch.reservation.gpus and enclosed is None,
            dispatch=msgspec.to_builtins(dispatch),
            uid=None if user is None else user.uid,
            gid=None if user is None else user.gid,
            groups=[] if user is None else list(user.groups),
        )

    def _capped(self, plan: LaunchPlan, launch: Launch, dispatch: DispatchReceived) -> LaunchPlan:
        if dispatch.gpu_cap_mib is None or launch.image is not None:
            return plan
        gpu_mib = self.gpu_sizes().get(dispatch.reservation.gpus[0].uuid, 0)
        return capped(plan, dispatch.gpu_cap_mib, gpu_mib)

    def _python(self, launch: Launch) -> PythonFound | None:
        if launch.python is None or launch.image is None:
            named = launch.python
            return None if named is None else python_of(named, self._home, self._label)
        return PythonFound(program=launch.python)

    def _copy_code(
        self,
        code: CodeSnapshot,
        attempt_id: AttemptId,
        target: str,
        is_wanted: Callable[[], bool],
    ) -> None:
        if self._code is None:
            raise Unprepared("there is no server here that its code could come from")
        try:
            self._code.copy(code, attempt_id, target, is_wanted)
        except NotWanted:
            raise Unprepared("it was stopped while its code was on the way") from None
        except BadArchive as error:
            raise Unprepared(f"its code cannot be unpacked: {error}") from error
        except Conflict as error:
            raise Unprepared(error.text) from error
        except OSError as error:
            raise Unprepared(
                f"node {self._label} cannot store its code: {error.strerror}",
                elsewhere=True,
                for_now=True,
            ) from error

    def _check_directory(self, path: str) -> None:
        now = time.monotonic()
        if self._seen_directories.get(path, 0.0) > now:
            return
        if not os.path.isdir(path):
            raise Unprepared(
                f"working directory {path} does not exist on node {self._label}; "
                "name one that does with `--workdir`, or bring yours along with `--code .`",
                elsewhere=True,
            )
        if len(self._seen_directories) > 1000:
            self._seen_directories.clear()
        self._seen_directories[path] = now + DIRECTORY_SEEN_S

    def write_contact(self, contact_at_ms: int) -> None:
        """In place and of one length: a reader sees the old time or the new one, and a full disk
        does no harm. Where it cannot be written at all, shims end their tasks at their deadline."""
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self._contact_path, flags, 0o600)
            try:
                write_at(descriptor, f"{contact_at_ms:>{_CONTACT_DIGITS}}\n".encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.error("contact file cannot be written", extra={"reason": error.strerror})

    # ── after ─────────────────────────────────────────────────────────────────────────────────

    def discard(self, attempt_ids: Sequence[AttemptId]) -> list[AttemptId]:
        """Removes run directories, where output is kept all but that; those that are there yet."""
        for attempt_id in attempt_ids:
            self._remove(attempt_id)
        return self._still_there(attempt_ids)

    def _still_there(self, attempt_ids: Iterable[AttemptId]) -> list[AttemptId]:
        return [each for each in attempt_ids if os.path.lexists(self.directory(each))]

    def _remove(self, attempt_id: AttemptId) -> None:
        directory = self.directory(attempt_id)
        remove_container(directory)
        self.cookies.pop(self._cookie_of.pop(attempt_id, ""), None)
        cgroup = self._cgroups.pop(attempt_id, None)
        if cgroup is not None:
            process.remove_cgroup(cgroup)
        if self._spare is not None and self._spare.put(directory):
            return
        names = _CONTROL_FILES if self._keep_output else (*_CONTROL_FILES, *_OUTPUT_FILES)
        for name in names:
            with contextlib.suppress(OSError):  # what cannot be removed shows at the rmdir below
                os.unlink(f"{directory}/{name}")
        if not self._keep_output:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                # The task made files of its own here.
                shutil.rmtree(directory, ignore_errors=True)

    # ── an earlier life ───────────────────────────────────────────────────────────────────────

    def know(self, attempt_id: AttemptId) -> None:
        """Takes an attempt of an earlier life into the tables."""
        try:
            spec = read_spec(self.directory(attempt_id))
        except InternalError:
            return  # never prepared, or gone: nothing of it can run
        self._note(attempt_id, spec)

    def clear(self, held: Container[AttemptId], forgotten: Iterable[AttemptId]) -> list[AttemptId]:
        """Removes what an earlier life had yet to remove; which of the forgotten are there yet.

        What is not known to be over and with the server stays, whatever it is.
        """
        forgotten = dict.fromkeys(forgotten)
        for name in os.listdir(self.root):
            attempt_id = AttemptId(name)
            if attempt_id in held:
                continue
            directory = self.directory(attempt_id)
            if inspect_run(directory).phase is RunPhase.RUNNING:
                log.warning("a process runs that nobody asked for", extra={"dir": directory})
            elif attempt_id in forgotten or is_spent(directory):
                acknowledge(directory)
                self._remove(attempt_id)
            else:
                log.error("run directory that nobody knows, kept", extra={"dir": directory})
        return self._still_there(forgotten)

    def _note(self, attempt_id: AttemptId, spec: RunSpec) -> None:
        self.cookies[spec.cookie] = attempt_id
        self._cookie_of[attempt_id] = spec.cookie
        if spec.cgroup is not None:
            self._cgroups[attempt_id] = spec.cgroup
