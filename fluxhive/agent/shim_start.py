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
    from fluxhive.agent import proctree, shim_spec
else:
    import proctree
    import shim_spec
if TYPE_CHECKING:
    from typing import Any

# Plain numbers: an enumeration's members cost every fork several pages.
SIGTERM = int(signal.SIGTERM)
SIGCHLD = int(signal.SIGCHLD)
SIGUSR1 = int(signal.SIGUSR1)
SIGALRM = int(signal.SIGALRM)
SIGKILL = int(signal.SIGKILL)
WAITED = (SIGTERM, SIGCHLD, SIGUSR1, SIGALRM)
"""The signals a shim acts on."""
#: A main process that leads a container has this long to have its engine kill that.
LEADER_KILLS_MS = 8_000
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
_PR_SET_NO_NEW_PRIVS = 38

Unprepared = shim_spec.Unprepared
read_spec = shim_spec.read_spec
libc: Any = ctypes.CDLL(None)
_prctl: Any = libc.prctl
_sigmask: Any = libc.pthread_sigmask
_execve: Any = ctypes.CDLL(None, use_errno=True).execve
_NO_SIGNALS: Any = ctypes.create_string_buffer(128)  # sigset_t of glibc and musl: 1024 bits
_SIG_SETMASK = int(signal.SIG_SETMASK)
_execve.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
#: By their numbers in native_start.c.
_STEPS = (b"", b"prepare", b"chdir", b"exec", b"user")
_native_start: Any = None


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
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Order(ctypes.Structure):
    """``struct order`` of native_start.c."""

    _fields_ = (
        ("path", ctypes.c_char_p),
        ("argv", ctypes.c_void_p),
        ("envp", ctypes.c_void_p),
        ("cwd", ctypes.c_char_p),
        ("joins", ctypes.c_char_p),
        ("out", ctypes.c_int),
        ("err", ctypes.c_int),
        ("has_user", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("gid", ctypes.c_uint),
        ("groups", ctypes.c_void_p),
        ("n_groups", ctypes.c_int),
        ("failed_step", ctypes.c_int),
        ("failed_errno", ctypes.c_int),
    )


def load_native(library: str) -> None:
    """Start programs by this compiled library from now on. Raises OSError where it does not load
    (a state directory from which nothing may be executed); then they are started by fork."""
    global _native_start
    _native_start = ctypes.CDLL(library).fluxhive_start


def start_main(run_dir: str, spec: dict[str, Any]) -> int:
    """Start the main process with its output in ``run_dir``; its pid. Raises Unprepared."""
    program = shim_spec.find_program(spec)
    arguments = _c_strings(spec["argv"])
    environment = _c_strings(
        [shim_spec.checked_name(key) + "=" + spec["env"][key] for key in spec["env"]]
    )
    joins = None if spec["cgroup"] is None else spec["cgroup"] + "/cgroup.procs"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    stdout = os.open(run_dir + "/stdout", flags, 0o600)
    stderr = stdout if spec["merge_output"] else os.open(run_dir + "/stderr", flags, 0o600)
    order = Order(
        os.fsencode(program),
        ctypes.cast(arguments, ctypes.c_void_p),
        ctypes.cast(environment, ctypes.c_void_p),
        os.fsencode(spec["cwd"]),
        None if joins is None else joins.encode(),
        stdout,
        stderr,
    )
    if spec.get("uid") is not None:
        _name_user(order, spec)
    try:
        pid = _start_natively(order, spec) if _native_start is not None else _fork(order, spec)
    finally:
        os.close(stdout)
        if stderr != stdout:
            os.close(stderr)
    if spec["oom_score_adj"] is not None:
        proctree.write_if_possible(f"/proc/{pid}/oom_score_adj", str(spec["oom_score_adj"]))
    return pid


def _name_user(order: Order, spec: dict[str, Any]) -> None:
    """Whose the program will be, and its output, which it may open again by /dev/stdout."""
    groups = spec["groups"]
    order.has_user, order.uid, order.gid = 1, spec["uid"], spec["gid"]
    order.n_groups = len(groups)
    order.groups = ctypes.cast((ctypes.c_uint * len(groups))(*groups), ctypes.c_void_p)
    for descriptor in {order.out, order.err}:
        os.fchown(descriptor, order.uid, order.gid)


def _start_natively(order: Order, spec: dict[str, Any]) -> int:
    pid: int = _native_start(ctypes.byref(order))
    if pid < 0:
        step, number = _STEPS[order.failed_step], order.failed_errno
        raise Unprepared(number, shim_spec.why_not(spec, step, number))
    return pid


def _fork(order: Order, spec: dict[str, Any]) -> int:
    """What native_start.c does, without it."""
    # Python makes descriptors close-on-exec (PEP 446): a successful exec closes this pipe, and the
    # task is given nothing but 0, 1 and 2.
    report_r, report_w = os.pipe()
    joins = None if order.joins is None else order.joins.decode()
    path, argv, envp, cwd = order.path, order.argv, order.envp, spec["cwd"]
    stdout, stderr, shim_pid, user = order.out, order.err, os.getpid(), spec.get("uid")
    pid = os.fork()
    if pid == 0:
        # All is made ready above: each page that is written to from here on is copied (3 µs), and
        # so a few calls less are half of what a start costs.
        step = b"prepare"
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
            if os.getppid() != shim_pid:
                os._exit(127)  # the shim died before its death could be signalled
            if joins is not None:
                proctree.write_if_possible(joins, "0")
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            if user is not None:
                step = b"user"
                os.setgroups(spec["groups"])
                os.setresgid(spec["gid"], spec["gid"], spec["gid"])
                os.setresuid(user, user, user)
                _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                _prctl(_PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # which a change of the user clears
                if os.getppid() != shim_pid:
                    os._exit(127)
            step = b"chdir"
            os.chdir(cwd)
            step = b"exec"
            _sigmask(_SIG_SETMASK, _NO_SIGNALS, None)
            _execve(path, argv, envp)
            os.write(report_w, b"exec %d" % ctypes.get_errno())
        except OSError as error:
            os.write(report_w, b"%s %d" % (step, error.errno or errno.EIO))
        finally:
            os._exit(127)
    os.close(report_w)
    report = os.read(report_r, 64)
    os.close(report_r)
    if report:
        os.waitpid(pid, 0)
        step, text = report.split()
        raise Unprepared(int(text), shim_spec.why_not(spec, step, int(text)))
    return pid


def _c_strings(words: list[str]) -> Any:
    """``char *[]`` with a null at the end. Raises Unprepared for what no program can be given."""
    try:
        encoded = [os.fsencode(word) for word in words]
    except UnicodeEncodeError as error:
        raise Unprepared(errno.EINVAL, "the command or its environment is no text") from error
    if b"\0" in b"".join(encoded):
        raise Unprepared(errno.EINVAL, "the command or its environment holds a NUL byte")
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
