"""Backups of a server's state: made while it runs, restored while it does not.

A backup is a directory with the database (tasks, attempts, nodes, people, tokens, keys, marks of
logs), and with the bytes of the logs where that was asked for. What the database holds is of one
moment (SQLite's backup API).

A restored server is one that went back in time: nodes may hold attempts that it never heard of, and
an attempt of which it knows may have ended. So a restore jumps ahead with every number that must
never be used twice (tasks, attempts and their epochs, sessions, log channels), and holds what was
queued: it may be running somewhere (core/going_back.py). People decide, once the nodes have said
what they hold.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from fluxhive import __version__
from fluxhive.core.errors import Conflict, InputError, NotFound
from fluxhive.core.going_back import JUMP, attempt_gone_back, task_gone_back
from fluxhive.core.task import FINAL_STATES
from fluxhive.core.values import Value

from .known_before import KnownBefore, known_before
from .restored_logs import bring_logs, mark_logs
from .store.engine import open_engine
from .store.migrate import migrate
from .store.queries import LAST_CHANNEL
from .store.rows import (
    ATTEMPT_COLUMNS,
    TASK_COLUMNS,
    attempt_of_row,
    attempt_row,
    task_changes,
    task_of_row,
)
from .store.store import take_lock
from .store.tables import attempts, meta, nodes, tasks
from .store.writes import NEXT_NUMBER, TASK_CHANGES

DATABASE = "hive.db"
NOTE = "backup.json"
LOGS = "logs"
FORMAT = 1


class BackupNote(Value, frozen=True, kw_only=True):
    """``backup.json``: what a backup is."""

    format: int = FORMAT
    server_version: str
    made_at_ms: int
    server_id: str
    n_tasks: int
    has_logs: bool


class Restored(Value, frozen=True, kw_only=True):
    """What a restore did."""

    note: BackupNote
    #: Where the state before it lies, to be deleted by hand; None: there was none.
    kept_as: str | None
    #: Tasks that were queued and are held now.
    held: tuple[str, ...]
    #: Attempts that were live when the backup was made; their nodes say what became of them.
    n_live: int
    #: Streams of output of which bytes are missing.
    n_gaps: int


def back_up(state_dir: Path, target: Path, *, with_logs: bool = False) -> BackupNote:
    """Writes a backup of a server that may be running. Raises ``FluxhiveError``."""
    database = state_dir / DATABASE
    if not database.is_file():
        raise NotFound(
            f"no server has its state in `{state_dir}`",
            hint="name its directory with `--state-dir`",
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(f"`{target}` exists already", hint="name a new directory for each backup")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    copy = target / DATABASE
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source, made = sqlite3.connect(f"file:{database}?mode=ro", uri=True), sqlite3.connect(copy)
    try:
        source.backup(made)
        made.execute("PRAGMA journal_mode = DELETE")
        (server_id,) = made.execute("SELECT value FROM meta WHERE key='server_id'").fetchone()
        (n_tasks,) = made.execute("SELECT count(*) FROM tasks").fetchone()
    finally:
        source.close()
        made.close()
    if with_logs and (state_dir / LOGS).is_dir():
        shutil.copytree(state_dir / LOGS, target / LOGS)
    note = BackupNote(
        server_version=__version__,
        made_at_ms=time.time_ns() // 1_000_000,
        server_id=server_id,
        n_tasks=n_tasks,
        has_logs=with_logs,
    )
    _write_through(target / NOTE, msgspec.json.encode(note))
    _sync(copy)
    _sync(target)
    return note


def restore(backup: Path, state_dir: Path, *, hold: bool = True) -> Restored:
    """Puts a backup in the place of a server's state; what was there is kept beside it.

    Raises ``StateInUse`` while a server runs on it, ``FluxhiveError`` for what is no backup.
    """
    note = read_note(backup)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = take_lock(state_dir)
    try:
        new = state_dir / f"{DATABASE}.restoring"
        for each in (new, *_companions(new)):
            each.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(backup / DATABASE, new)
        _check(new)
        before = known_before(state_dir / DATABASE, note.server_id)
        if note.has_logs:
            bring_logs(backup / LOGS, state_dir / LOGS)
        engine = open_engine(new)
        migrate(engine)
        with engine.begin() as connection:
            held = _jump(connection, before, hold=hold)
            n_live = connection.scalar(
                sa.select(sa.func.count()).select_from(attempts).where(attempts.c.state != "ended")
            )
            n_gaps = mark_logs(connection, state_dir / LOGS, before)
        engine.dispose()
        return Restored(
            note=note,
            kept_as=_exchange(new, state_dir / DATABASE),
            held=tuple(held),
            n_live=n_live or 0,
            n_gaps=n_gaps,
        )
    finally:
        os.close(lock)


def read_note(backup: Path) -> BackupNote:
    """What a backup says about itself. Raises ``InputError`` for what is none."""
    try:
        note = msgspec.json.decode((backup / NOTE).read_bytes(), type=BackupNote)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            f"`{backup}` is no backup: {error}",
            field="PATH",
            value=str(backup),
            hint="give the directory that `fluxhive server backup` wrote",
        ) from error
    if note.format != FORMAT:
        raise Conflict(
            f"the backup has format {note.format}, this version reads {FORMAT}",
            hint=f"restore it with FlowHive {note.server_version}",
        )
    return note


def _check(database: Path) -> None:
    connection = sqlite3.connect(database)
    try:
        (state,) = connection.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as error:
        state = str(error)
    finally:
        connection.close()
    if state != "ok":
        raise Conflict(f"the backup is damaged: {state}", hint="restore an older one")


def _jump(connection: sa.Connection, before: KnownBefore, *, hold: bool) -> list[str]:
    """Raises every number that must not be used twice; the tasks that are held now.

    From the highest known: one may go back to the same backup again and again.
    """
    notes = {row.key: row.value for row in connection.execute(sa.select(meta))}
    channel = connection.scalar(sa.select(sa.func.max(attempts.c.channel))) or 0
    channel = max(channel, int(notes.get(LAST_CHANNEL, "0")), before.last_channel)
    number = max(int(notes.get(NEXT_NUMBER, "0")), before.next_number)
    for key, value in ((NEXT_NUMBER, number + JUMP), (LAST_CHANNEL, channel + JUMP)):
        connection.execute(sa.delete(meta).where(meta.c.key == key))
        connection.execute(sa.insert(meta).values(key=key, value=str(value)))
    for node_id, session in connection.execute(sa.select(nodes.c.id, nodes.c.session)).all():
        highest = max(session, before.sessions.get(node_id, 0))
        connection.execute(
            sa.update(nodes).where(nodes.c.id == node_id).values(session=highest + JUMP)
        )
    held: list[str] = []
    final = [state.value for state in FINAL_STATES]
    query = sa.select(*(tasks.c[name] for name in TASK_COLUMNS)).where(tasks.c.state.not_in(final))
    for row in connection.execute(query).mappings().all():
        task = task_of_row(row)
        newest = max(task.epoch, before.epochs.get(task.id, 0))
        raised = task_gone_back(replace(task, epoch=newest), hold=hold)
        if raised.state is not task.state:
            held.append(task.id)
        values = dict(zip(TASK_CHANGES, task_changes(raised), strict=True))
        connection.execute(sa.update(tasks).where(tasks.c.id == task.id).values(values))
    live = sa.select(*(attempts.c[name] for name in ATTEMPT_COLUMNS))
    for row in connection.execute(live.where(attempts.c.state != "ended")).mappings().all():
        attempt = attempt_gone_back(attempt_of_row(row))
        values = dict(zip(ATTEMPT_COLUMNS, attempt_row(attempt), strict=True))
        connection.execute(sa.update(attempts).where(attempts.c.id == attempt.id).values(values))
    return held


def _exchange(new: Path, database: Path) -> str | None:
    """The new database in the old one's place, in one step; where the old one went."""
    kept: Path | None = None
    if database.exists():
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        kept = _unused(database.with_name(f"{DATABASE}.before-{stamp}"))
        # A write-ahead log belongs to its database: left behind, it would be played into another.
        for each, aside in zip(_companions(database), _companions(kept), strict=True):
            if each.exists():
                os.replace(each, aside)
        os.link(database, kept)
    _sync(new)
    os.replace(new, database)
    for each in _companions(new):
        each.unlink(missing_ok=True)
    _sync(database.parent)
    return None if kept is None else str(kept)


def _unused(path: Path) -> Path:
    n, name = 1, path.name
    while path.exists():
        n += 1
        path = path.with_name(f"{name}-{n}")
    return path


def _companions(database: Path) -> tuple[Path, Path]:
    return Path(f"{database}-wal"), Path(f"{database}-shm")


def _write_through(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
