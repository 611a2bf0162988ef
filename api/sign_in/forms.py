"""Forms and queries as browsers send them: bounded, and each field once."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from api.edge_types import unclean_character
from domain.errors import InvalidRequest

FORM_BYTES: Final = 8 * 1024
_MAX_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"


def query_of(request: Request) -> dict[str, str]:
    """The query's parameters. Raises InvalidRequest for what cannot be read, or is sent twice (RFC 6749, 3.1)."""
    return _parsed(request.url.query)


async def form_of(request: Request) -> dict[str, str]:
    """The form's fields. Raises InvalidRequest, TooLarge."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise InvalidRequest(f"This page sends {_FORM}; send the form it shows.")
    try:
        return _parsed((await request.body()).decode("ascii"))
    except UnicodeDecodeError:
        raise InvalidRequest("The form cannot be read; send it as a browser does.") from None


def _parsed(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidRequest("The parameters cannot be read; start again.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidRequest("A parameter is sent twice; start again.")
    if any(unclean_character(value) is not None for pair in pairs for value in pair):
        raise InvalidRequest("A parameter holds a control character; start again.")
    return found
