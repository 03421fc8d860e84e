"""The user as whom an agent of root runs tasks: who that is, and what on the disk is theirs.

Agent and shims stay root's: they signal, limit and record. The program is started as the user, with
that user's groups and no way back (``no_new_privs``). Run directories stay root's, too, and can be
passed through; only the copy of the code, the files of secrets and the output are the user's.
"""

from __future__ import annotations

import logging
import os
import stat
import subprocess
from pathlib import Path

from fluxhive import env
from fluxhive.core.errors import InputError
from fluxhive.core.values import Value
from fluxhive.protocol.wire import EXTRAS, STREAM_NAMES

from .output_files import FOLDER

log = logging.getLogger(__name__)

FIELD = "agent.task_user"
PASS_THROUGH = 0o711
_LOOK_S = 10.0


class TaskUser(Value, frozen=True, kw_only=True):
    """A user of this machine who is not root."""

    name: str
    uid: int
    gid: int
    #: All of the user's groups, as after a login.
    groups: tuple[int, ...]
    home: str
    shell: str

    @property
    def environ(self) -> dict[str, str]:
        """What tasks are given in place of what is root's."""
        return {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}


def check_user(*, allow_root: bool, task_user: str | None = None) -> TaskUser | None:
    """As whom tasks run; None: as the agent. Raises ``InputError`` for what must not be.

    Root has to be told that tasks would be root as well, and nobody else can become another.
    """
    is_root = os.name == "posix" and os.getuid() == 0
    if task_user:
        if not is_root:
            raise InputError(
                "only an agent of root can run tasks as another user",
                field=FIELD,
                value=task_user,
                hint="start it as root, or leave `--task-user` out: tasks run as whoever starts it",
            )
        return _found(task_user)
    if not is_root:
        return None
    if not allow_root:
        raise InputError(
            "an agent that runs as root would run every task as root",
            field="agent.allow_root",
            hint="start it as another user, or name one for the tasks: fluxhive run --task-user "
            "NAME; on a machine of your own or in a container: fluxhive run --allow-root, or "
            "fluxhive config agent.allow_root true",
        )
    log.warning("tasks run as root", extra={"reason": "the agent runs as root, and was allowed to"})
    return None


def _found(name: str) -> TaskUser:
    import pwd  # not on Windows

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise InputError(
            f"this machine has no user `{name}`",
            field=FIELD,
            value=name,
            hint=f"make one: useradd --create-home {name}",
        ) from None
    if entry.pw_uid == 0:
        raise InputError(
            f"`{name}` is root: tasks would be root as well",
            field=FIELD,
            value=name,
            hint="name a user without privileges",
        )
    return TaskUser(
        name=name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(os.getgrouplist(name, entry.pw_gid)),
        home=entry.pw_dir if os.path.isdir(entry.pw_dir) else "/",
        shell=entry.pw_shell or "/bin/sh",
    )


def open_way(top: Path, directory: Path, user: TaskUser | None) -> None:
    """Lets the user pass through to the run directories in ``directory``, and read nothing there.

    ``top``: the uppermost directory that is FlowHive's. Raises ``InputError`` where a directory
    above keeps the user out.
    """
    if user is None:
        return
    os.umask(0o077)
    runs = directory / "runs"
    runs.mkdir(mode=PASS_THROUGH, exist_ok=True)
    for entry in directory.iterdir():
        if stat.S_ISREG(entry.lstat().st_mode):
            entry.chmod(0o600)
    for each in (runs, directory, *directory.parents):
        if not each.is_relative_to(top):
            break
        each.chmod(stat.S_IMODE(each.stat().st_mode) | 0o111)
    if not _can_enter(runs, user):
        raise InputError(
            f"user `{user.name}` cannot reach `{runs}`, where tasks have their code and secrets",
            field=FIELD,
            value=user.name,
            hint=f"let {env.STATE_DIR.name} name a directory that everybody can pass through, "
            "such as /var/lib/fluxhive",
        )


def _can_enter(path: Path, user: TaskUser) -> bool:
    looked = subprocess.run(
        ["/bin/sh", "-c", 'cd "$0"', str(path)],
        user=user.uid,
        group=user.gid,
        extra_groups=user.groups,
        cwd="/",
        capture_output=True,
        timeout=_LOOK_S,
    )
    return looked.returncode == 0


def hand_over(directory: str, user: TaskUser) -> None:
    """Makes what the task needs of its run directory the user's, and the rest passable."""
    os.chmod(directory, PASS_THROUGH)
    for number in EXTRAS:  # the task cannot make files here
        path = f"{directory}/{STREAM_NAMES[number]}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.chown(path, user.uid, user.gid)
    for name in ("code", "secrets", FOLDER):
        for folder, folders, files in os.walk(f"{directory}/{name}"):
            for each in (folder, *(f"{folder}/{name}" for name in (*folders, *files))):
                os.chown(each, user.uid, user.gid, follow_symlinks=False)
