"""`soma document`: what sessions answer about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from domain.errors import InvalidRequest, TooLarge
from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_MAX_BYTES: Final = 5 * 1024 * 1024
"""Checked before a large file is sent; the gateway checks again."""

_MEDIA_TYPES: Final = {
    "": "text/plain",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
    ".log": "text/plain",
    ".csv": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
}

_documents = typer.Typer(help="Add, list, read and delete documents.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_documents, name="document")


@_documents.command()
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A text in UTF-8, at most 5 MiB.")],
    name: Annotated[str | None, typer.Option("--name", help="What to call it; the file's name without it.")] = None,
    media_type: Annotated[
        str | None, typer.Option("--media-type", help="text/plain, text/markdown or text/html; by the file's suffix without it.")
    ] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Add a document and print its id.

    Example: soma document add handbook.md

    Exit codes: 0 added, 1 refused, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"name": name or file.name, "media_type": media_type or _media_type(file), "content": _text(file)}
    with open_gateway(tenant, as_json=json) as gateway:
        added = gateway.post("/v1/documents", body, key=key or new_key())
    if json:
        show_json(added)
    else:
        typer.echo(added["document_id"])


@_documents.command(name="list")
def list_(limit: LimitOption = 50, after: AfterOption = None, tenant: TenantOption = TENANT, json: JsonOption = False) -> None:
    """List the tenant's documents, newest first. Example: soma document list --limit 10"""
    from workers.cli.display import moment, show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/documents", limit=limit, after=after)
    if json:
        show_json(page)
        return
    rows = (
        (each["document_id"], each["name"], each["media_type"], each["bytes"], moment(each["created_at"]))
        for each in page["documents"]
    )
    show_table(("id", "name", "type", "bytes", "added (UTC)"), rows, more=page["next"])


@_documents.command()
def show(
    document_id: Annotated[str, typer.Argument(metavar="ID", help="doc_…")],
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Print the text that was read from a document. Example: soma document show doc_…"""
    from workers.cli.display import visible
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.get(at("/v1/documents", document_id))
    if json:
        show_json(found)
    else:
        typer.echo(visible(found["text"]))


@_documents.command()
def delete(
    document_id: Annotated[str, typer.Argument(metavar="ID", help="doc_…")],
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Delete a document and its bytes. Sessions that named it answer without it. Example: soma document delete doc_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        gateway.delete(at("/v1/documents", document_id))
    deleted: dict[str, Any] = {"deleted": document_id}
    if json:
        show_json(deleted)
    else:
        typer.echo(f"Deleted {document_id}.")


def _media_type(file: Path) -> str:
    found = _MEDIA_TYPES.get(file.suffix.lower())
    if found is None:
        raise InvalidRequest(f"A {file.suffix} file is no known text; if it is one, say so with --media-type text/plain.")
    return found


def _text(file: Path) -> str:
    if file.stat().st_size > _MAX_BYTES:
        raise TooLarge(f"{file} has more than {_MAX_BYTES} bytes; split it.")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file} is not UTF-8; convert it first, for instance with iconv.") from None
