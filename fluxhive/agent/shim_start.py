"""From a spec to a running main process: what a shim does between fork and exec.

Part of the shim (``shim.py``), under the same rules: standard library only, run by path.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING or __package__:
    from fluxhive.agent import proctree
else:
    import proctree
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Plain numbers: an enumeration's members cost every fork several pages.
SIGTERM = int(signal.SIGTERM)
SIGCHLD = int(signal.SIGCHLD)
SIGUSR1 = int(signal.SIGUSR1)
SIGALRM = int(signal.SIGALRM)
SIGKILL = int(signal.SIGKILL)
WAITED = (SIGTERM, SIGCHLD, SIGUSR1, SIGALRM)
"""The signals a shim acts on."""
_BLOCKED = (
    *WAITED,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR2,
    signal.SIGPIPE,  # blocked, not ignored, so that a task gets both as they should be
    signal.SIGXFSZ,
)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

libc: Any = ctypes.CDLL(None)
_NO_SIGNALS: Any = ctypes.create_string_buffer(128)  # sigset_t of glibc and musl: 1024 bits
_SIG_SETMASK = int(signal.SIG_SETMASK)


class Unprepared(Exception):
    """The attempt could not be started: an errno and one sentence for a person."""

    def __init__(self, cause: OSError | int, detail: str) -> None:
        number = cause if isinstance(cause, int) else cause.errno or errno.EIO
        if not isinstance(cause, int):
            detail = f"{detail}: {os.strerror(number)}"
        super().__init__(detail)
        self.number = number
        self.detail = detail


def prepare_process() -> None:
    """What every shim inherits, done once: signals, standard descriptors, umask, directory."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    for number in signal.valid_signals():
        # An agent started by nohup, or by a shell in the background, ignores signals: tasks must
        # not inherit that, nor what Python ignores (SIGPIPE, SIGXFSZ).
        if signal.getsignal(number) in (signal.SIG_IGN, signal.default_int_handler):
            signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:  # keeps the files of an attempt from becoming descriptor 0, 1 or 2
        null = os.dup(null)
    os.dup2(null, 0)
    os.close(null)
    os.umask(0o022)
    os.chdir("/")


def become_subreaper() -> None:
    """Orphans of this process's tree become its children instead of init's."""
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start_main(run_dir: str, spec: dict[str, Any]) -> int:
    """Start the main process with its output in ``run_dir``; its pid. Raises Unprepared."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    stdout = os.open(run_dir + "/stdout", flags, 0o600)
    stderr = stdout if spec["merge_output"] else os.open(run_dir + "/stderr", flags, 0o600)
    # Python makes descriptors close-on-exec (PEP 446): a successful exec closes this pipe, and the
    # task is given nothing but 0, 1 and 2.
    report_r, report_w = os.pipe()
    shim_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_task(spec, shim_pid, stdout, stderr, report_w)
    os.close(report_w)
    report = os.read(report_r, 64)
    os.close(report_r)
    os.close(stdout)
    if stderr != stdout:
        os.close(stderr)
    if report:
        os.waitpid(pid, 0)
        step, number = report.split()
        raise Unprepared(int(number), _why_not(spec, step, int(number)))
    return pid


def _become_task(
    spec: dict[str, Any], shim_pid: int, stdout: int, stderr: int, report_w: int
) -> NoReturn:
    """The forked child up to exec."""
    step = b"prepare"
    number = errno.ENOMEM
    try:
        os.setsid()
        libc.prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        if os.getppid() != shim_pid:
            os._exit(127)  # the shim died before its death could be signalled
        # Refused only where the agent misjudged its rights: the task runs without, and its
        # tree is still ended by the walk below the subreaper.
        if spec["oom_score_adj"] is not None:
            proctree.write_if_possible("/proc/self/oom_score_adj", str(spec["oom_score_adj"]))
        if spec["cgroup"] is not None:
            proctree.write_if_possible(spec["cgroup"] + "/cgroup.procs", "0")
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        step = b"chdir"
        os.chdir(spec["cwd"])
        step = b"exec"
        libc.pthread_sigmask(_SIG_SETMASK, _NO_SIGNALS, None)
        _exec(spec["argv"], spec["env"])
    except OSError as error:
        number = error.errno or errno.EIO
    except (ValueError, TypeError, KeyError, IndexError):
        number = errno.EINVAL  # an embedded NUL, a surrogate that is no byte, no command
    finally:
        os.write(report_w, b"%s %d" % (step, number))
        os._exit(127)


def _exec(argv: list[str], env: dict[str, str]) -> NoReturn:
    """execvpe with the PATH of the task, not of this process. Raises OSError or ValueError."""
    program = argv[0]
    if "/" in program:
        os.execve(program, argv, env)
    denied = False
    for folder in env.get("PATH", os.defpath).split(":") if program else ():
        path = f"{folder or '.'}/{program}"
        if not os.path.exists(path):
            continue
        try:
            os.execve(path, argv, env)
        except PermissionError:
            denied = True  # a directory or not executable: the next one may do
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number))


def _why_not(spec: dict[str, Any], step: bytes, number: int) -> str:
    """One sentence on a start that failed in ``step`` with errno ``number``."""
    argv, cwd = spec["argv"], spec["cwd"]
    if step == b"prepare" or not argv:
        return f"cannot start the main process: {os.strerror(number)}"
    if step == b"chdir" and number == errno.ENOENT:
        return f"working directory {cwd} does not exist"
    if step == b"chdir":
        return f"working directory {cwd} cannot be entered: {os.strerror(number)}"
    program = argv[0]
    if number == errno.EINVAL:
        return "the command or its environment holds a NUL byte or an invalid name"
    if number == errno.ENOEXEC:
        return f"{program} is no program and has no interpreter line (#!)"
    if number != errno.ENOENT:
        return f"program {program} cannot be executed: {os.strerror(number)}"
    if "/" not in program:
        return f"program {program} is not on the task's PATH"
    if os.path.exists(os.path.join(cwd, program)):
        return f"the interpreter that {program} names does not exist"
    return f"program {program} does not exist"
