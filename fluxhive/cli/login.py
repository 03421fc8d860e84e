"""`fluxhive login`: exchanges name and password for a token and keeps that."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import click

from fluxhive import config, env, places
from fluxhive.cli import messages, output, session
from fluxhive.core.errors import AuthError, InputError
from fluxhive.sdk.calls import Calls


@click.command()
@click.option("-u", "--username", help="Name to log in with. Default: that of the configuration.")
@click.option("--password", help="`-` reads it from standard input; without it you are asked.")
@click.option("--token", help="Keep this token instead; `-` reads it from standard input.")
@click.option("--link", help="The link of an invitation: choose your password here, once.")
@click.option(
    "--control-url",
    metavar="URL",
    help="Address of the control server. It is kept where none is configured.",
)
@output.json_option
def command(
    *,
    username: str | None,
    password: str | None,
    token: str | None,
    link: str | None,
    control_url: str | None,
    is_json: bool,
) -> None:
    """Log in to the server. Only a token is kept, never the password; it can be revoked."""
    _check(username, password, token, link)
    if link is not None:
        link = (_line() if link == "-" else link).strip()
        control_url = control_url or _server_of(link)
    settings = config.load(
        {"control_base_url": control_url, "user.username": username, "user.password": None}
    )
    client = session.client(settings.control_base_url, may_log_in=False)
    if token is not None:
        kept, name = _try(client, (_line() if token == "-" else token).strip())
    else:
        client.transport.token = None
        given = _line() if password == "-" else password
        if link is not None:
            code = link.partition("#")[2]
            grant = client.answer_invitation(code, given or _ask("password", confirm=True))
        else:
            name = settings.username or _ask("username", is_secret=False)
            grant = client.login(name, given or settings.password or _ask("password"))
        kept, name = grant.token, grant.username
    path = places.write_login(client.url, kept)
    if is_json:
        output.json({"username": name, "url": client.url, "file": str(path)})
    else:
        messages.say(f"logged in to {client.url} as {name}; the token is kept in {path}")
    _keep_address(client.url)
    if env.get(env.TOKEN) is not None:
        messages.warn(f"{env.TOKEN.name} is set and goes before it: unset it to use this login")


def _check(username: str | None, password: str | None, token: str | None, link: str | None) -> None:
    for option, given in (("--password", password), ("--link", link), ("--username", username)):
        if token is not None and given is not None:
            raise InputError(f"`--token` and `{option}` exclude each other", field="--token")
    if link is not None and username is not None:
        raise InputError(
            "`--link` and `--username` exclude each other",
            field="--link",
            hint="leave the name out: the link says who is invited",
        )
    for option, given in (("--password", password), ("--token", token)):
        if given not in (None, "-"):
            messages.warn(
                f"`{option}` on the command line can be seen by others while this runs and stays "
                f"in the shell's history; `{option} -` reads it from standard input"
            )


def _server_of(link: str) -> str:
    """The address of the server that made the link of an invitation."""
    parts = urlsplit(link)
    if not parts.netloc or not parts.fragment:
        raise InputError(
            f"--link: not the link of an invitation: `{link}`",
            field="--link",
            value=link,
            hint="give it whole and in quotes, as `fluxhive user add` printed it, with what stands "
            "behind the `#`",
        )
    base = parts.path.rpartition("/")[0]
    return f"{parts.scheme}://{parts.netloc}{base}"


def _try(client: Calls, token: str) -> tuple[str, str]:
    """The token and whose it is, once the server has taken it."""
    client.transport.token = token
    try:
        return token, client.me().username
    except AuthError as error:
        raise AuthError(
            error.text,
            hint="nothing was kept; where you are logged in, `fluxhive token create` makes a new "
            "one, and with a name and password `fluxhive login` does",
        ) from error


def _keep_address(url: str) -> None:
    """Lets later commands find the server, unless another is configured: then that is said."""
    known = config.resolve()["control_base_url"]
    if known.value == url:
        return
    if known.origin == "default":
        config.set_key("control_base_url", url)
        messages.say(f"kept the address in {places.config_path()}")
        return
    messages.warn(
        f"commands go on talking to {known.value} (from {known.origin}); to change that: "
        f"fluxhive config control_base_url {url}"
    )


def _line() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _ask(what: str, *, is_secret: bool = True, confirm: bool = False) -> str:
    if not sys.stdin.isatty():
        raise InputError(
            f"no {what} was given, and there is no terminal to ask on",
            field=f"--{what}",
            hint=f"give `--{what}`"
            if confirm
            else f"give `--{what}`, or set it: fluxhive config user.{what} -",
        )
    text = f"choose a {what}" if confirm else what
    return str(click.prompt(text, hide_input=is_secret, confirmation_prompt=confirm, err=True))
