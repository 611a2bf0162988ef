"""`soma secret`: the secrets of the encrypted file. Values come from standard input or a prompt, never from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.environment import USAGE, complain, show_json, show_table
from workers.cli.options import JsonOption

if TYPE_CHECKING:
    from adapters.secrets.encrypted_file import EncryptedFileSecrets

_secrets = typer.Typer(help="Secrets of the encrypted file.", no_args_is_help=True, rich_markup_mode=None)
_Name = Annotated[str, typer.Argument(help="Lower-case words parted by '/', such as models/openai.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.add_typer(_secrets, name="secret")


@_secrets.command("set")
def set_(name: _Name, json: JsonOption = False) -> None:
    """Store a secret, or a new version of it; running processes use it with their next call. The value is read from standard
    input, or asked for.

    Exit codes: 0 stored, 2 called wrongly or another store is chosen, 3 the file cannot be used.
    """
    store = _store()
    value = typer.prompt(f"Value of {name}", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\r\n")
    version = store.set(name, value)
    if json:
        show_json({"name": name, "version": version})
    else:
        typer.echo(f"{name} is stored as version {version}.")


@_secrets.command("list")
def list_(json: JsonOption = False) -> None:
    """Names and versions; values are never shown.

    Exit codes: 0 listed, 2 another store is chosen, 3 the file cannot be used.
    """
    names = _store().names()
    if json:
        show_json([{"name": name, "version": version} for name, version in names.items()])
    else:
        show_table(None, ("Name", "Version"), ((name, str(version)) for name, version in names.items()), right=("Version",))


@_secrets.command()
def delete(name: _Name) -> None:
    """Delete a secret; what needs it is refused from its next call on.

    Exit codes: 0 deleted, 2 called wrongly or another store is chosen, 3 there is none or the file cannot be used.
    """
    _store().delete(name)
    typer.echo(f"{name} is deleted.")


def _store() -> EncryptedFileSecrets:
    from runtime.settings import settings
    from workers.secrets import file_secrets

    if settings().secrets_store != "file":
        complain("SECRETS_STORE names another store; change its secrets with its own tools (`vault kv put`).")
        raise typer.Exit(USAGE)
    return file_secrets(settings())
