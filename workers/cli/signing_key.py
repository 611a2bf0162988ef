"""`soma signing-key`: the keys that access tokens are signed with."""

from __future__ import annotations

import typer

from workers.cli.environment import FAILED, USAGE, complain, show_json
from workers.cli.options import JsonOption

_keys = typer.Typer(help="Rotate the keys that access tokens are signed with.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.add_typer(_keys, name="signing-key")


@_keys.callback()
def signing_key() -> None:
    """Keeps `rotate` a command of its own, also while it is the only one."""


@_keys.command()
def rotate(json: JsonOption = False) -> None:
    """Put a fresh key first in SIGNING_KEY_FILE. Running gateways sign with it at once, and tokens of the former key stay good.

    Where several gateways read copies of the file, bring each of them the new one: one that does not have it yet refuses the
    tokens of those that do.

    Exit codes: 0 rotated, 1 the file cannot be read or written, 2 SIGNING_KEY_FILE is not set.
    """
    import json as json_text
    import time
    from datetime import UTC, datetime

    from adapters.signing_keys import rotated
    from adapters.tokens import JoseTokens
    from runtime.settings import settings
    from workers.embedded.files import write_atomically

    known = settings()
    path = known.signing_key_file
    if path is None:
        complain("No signing keys are known; start the stack with `soma up` or set SIGNING_KEY_FILE.")
        raise typer.Exit(USAGE)
    # Read as a gateway reads it, so that nothing is written that none could use.
    JoseTokens.from_file(path, issuer="", audience="", lifetime_seconds=known.token_lifetime_seconds)
    keys = rotated(json_text.loads(path.read_bytes()), int(time.time()), known.token_lifetime_seconds)
    try:
        write_atomically(path, json_text.dumps(keys, indent=2) + "\n")
    except OSError as error:
        complain(f"{path} cannot be written ({error.strerror}); rotate where the file is made.")
        raise typer.Exit(FAILED) from None
    signs, former = keys["keys"][0]["kid"], keys["keys"][1]
    until = datetime.fromtimestamp(former["exp"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    if json:
        show_json({"kid": signs, "former": former["kid"], "former_verifies_until": former["exp"], "keys": len(keys["keys"])})
    else:
        typer.echo(f"{signs} signs now; {former['kid']} verifies until {until} UTC.")
