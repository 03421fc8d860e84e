"""`fluxhive server`: starts the control server alone; makes and restores its backups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from fluxhive import config, places
from fluxhive.agent import system
from fluxhive.cli import messages, options
from fluxhive.core.errors import FluxhiveError, InputError

SERVER_PACKAGES = frozenset({"fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2", "limits"})


@click.group(invoke_without_command=True)
@click.pass_context
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=config.DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes any free one.",
)
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the server keeps all.")
@click.option("--tls-cert", type=click.Path(), help="Certificate chain (PEM) for HTTPS.")
@click.option("--tls-key", type=click.Path(), help="Private key (PEM) for HTTPS.")
@click.option(
    "--insecure-http",
    is_flag=True,
    help="Serve beyond this machine without HTTPS. Everybody on the way can read everything.",
)
@options.log_level
def command(
    context: click.Context,
    *,
    host: str,
    port: int,
    state_dir: Path | None,
    tls_cert: str | None,
    tls_key: str | None,
    insecure_http: bool,
    log_level: str | None,
) -> int:
    """Start the control server. It stays in the foreground; Ctrl-C ends it."""
    if context.invoked_subcommand is not None:
        return 0
    system.refuse_unbuilt()
    for option, path in (("--tls-cert", tls_cert), ("--tls-key", tls_key)):
        if path is not None and not Path(path).is_file():
            raise InputError(f"no such file for `{option}`: `{path}`", field=option, value=path)
    if (tls_cert is None) != (tls_key is None):
        raise InputError(
            "`--tls-cert` and `--tls-key` belong together",
            field="--tls-key" if tls_key is None else "--tls-cert",
            hint="give both, or none for plain HTTP on this machine",
        )
    settings = config.load()
    level = options.begin_logging(log_level)
    directory = places.server_dir() if state_dir is None else places.private_dir(state_dir)
    chosen = config.ServerOptions(
        host=host,
        port=port,
        state_dir=str(directory.absolute()),
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure_http=insecure_http,
        log_level=level,
        log_quota_gib=settings.log_quota_gib,
        keep_tasks_days=settings.keep_tasks_days,
        keep_logs_days=settings.keep_logs_days,
        keep_logs_gib=settings.keep_logs_gib,
        gpu_reading_s=settings.gpu_reading_s,
        preemption=settings.preemption,
        policy=settings.policy,
    )
    with _server_packages():
        from fluxhive.server import app
    return app.main(chosen)


@command.command("backup")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the server keeps all.")
@click.option("--with-logs", is_flag=True, help="What tasks printed, too: this may be much.")
def backup(*, path: Path, state_dir: Path | None, with_logs: bool) -> int:
    """Write a backup into the new directory PATH. The server may be running."""
    with _server_packages():
        from fluxhive.server import backup as backups
    directory = places.server_dir() if state_dir is None else state_dir
    note = backups.back_up(directory, path, with_logs=with_logs)
    logs = "with what they printed" if with_logs else "without what they printed (--with-logs)"
    messages.say(f"{note.n_tasks} tasks, users and tokens are in `{path}`, {logs}")
    return 0


@command.command("restore", short_help="Go back to the backup in PATH.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the server keeps all.")
@click.option("--no-hold", is_flag=True, help="Let what was queued start: it runs nowhere, surely.")
def restore(*, path: Path, state_dir: Path | None, no_hold: bool) -> int:
    """Go back to the backup in PATH; what was there before is kept beside it.

    No server may be running. Afterwards start it, and look at `fluxhive nodes`: attempts that began
    after the backup run on there until you end them (`fluxhive node end-unknown`). Tasks that were
    queued are held, since they may be among them.
    """
    with _server_packages():
        from fluxhive.server import backup as backups
    directory = places.server_dir() if state_dir is None else places.private_dir(state_dir)
    done = backups.restore(path, directory, hold=not no_hold)
    messages.say(f"{done.note.n_tasks} tasks are as in the backup")
    if done.kept_as:
        messages.say(f"the state before is kept as `{done.kept_as}`: delete it when all is well")
    if done.n_live:
        messages.say(f"{done.n_live} attempts were live: their nodes say what became of them")
    if done.held:
        some = ", ".join(done.held[:5]) + (", …" if len(done.held) > 5 else "")
        messages.say(f"{len(done.held)} queued tasks are held now: {some}")
    if done.n_gaps:
        messages.warn(f"of {done.n_gaps} output streams bytes are missing; they are shown as gaps")
    return 0


@contextmanager
def _server_packages() -> Iterator[None]:
    """Says what to install where the server's packages are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in SERVER_PACKAGES:
            raise
        raise FluxhiveError(
            f"the server's packages are not installed: `{error.name}` is missing",
            # By file or clone: the name alone belongs to another project on the package index.
            hint="install them from a clone: pip install '.[server]', or with the wheel file: "
            "pip install 'FILE.whl[server]'",
        ) from error
