"""`fluxhive server`: starts the control server alone."""

from __future__ import annotations

from pathlib import Path

import click

from fluxhive import config, places
from fluxhive.cli import options
from fluxhive.core.errors import FluxhiveError, InputError

SERVER_PACKAGES = frozenset({"fastapi", "uvicorn", "sqlalchemy", "alembic", "argon2", "limits"})


@click.command()
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
    )
    try:
        from fluxhive.server import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in SERVER_PACKAGES:
            raise
        raise FluxhiveError(
            f"the server's packages are not installed: `{error.name}` is missing",
            # By file or clone: the name alone belongs to another project on the package index.
            hint="install them from a clone: pip install '.[server]', or with the wheel file: "
            "pip install 'FILE.whl[server]'",
        ) from error
    return app.main(chosen)
