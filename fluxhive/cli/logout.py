"""`fluxhive logout`: forgets the token that `fluxhive login` kept."""

from __future__ import annotations

import click

from fluxhive import config, env, places
from fluxhive.cli import messages, options


@click.command()
@options.control_url
def command(*, control_url: str | None) -> None:
    """Forget the token that `fluxhive login` kept for the server. Tasks are not affected.

    The token itself stays valid until it expires; it is only gone from this account's files.
    """
    url = config.load({"control_base_url": control_url}).control_base_url
    if places.read_login(url) is None:
        messages.say(f"no token was kept for {url}")
    else:
        messages.say(f"forgot the token for {url}, in {places.write_login(url, None)}")
    left = config.load({"control_base_url": control_url})
    if left.token is not None:
        source = f"{env.TOKEN.name} or `user.token` of the configuration"
        if left.token == places.read_admin_token():
            source = f"{places.admin_token_path()}, of the server that this account runs"
        messages.warn(f"a token is still found: {source}")
    elif left.password is not None:
        messages.warn("the configuration holds a password: fluxhive config --unset user.password")
