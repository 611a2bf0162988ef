"""The form that the OAuth endpoints take, and how it stands in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from api.oauth.models import Refused

MAX_FIELDS: Final = 16
CREDENTIALS: Final[dict[str, Any]] = {
    "client_id": {"type": "string", "description": "Here or by HTTP Basic."},
    "client_secret": {"type": "string", "format": "password"},
}


def documented(required: list[str], properties: dict[str, Any], example: dict[str, str]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes a form with these parameters and the client's credentials."""
    schema = {
        "type": "object",
        "required": required,
        "maxProperties": MAX_FIELDS,
        "additionalProperties": {"type": "string", "description": "Ignored (RFC 6749, 3.2)."},
        "properties": properties | CREDENTIALS,
    }
    content = {"application/x-www-form-urlencoded": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def parse_form(content_type: str, body: bytes) -> dict[str, str]:
    """The parameters of a form; those without a value are left out (RFC 6749, 3.2). Raises Refused."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refused("invalid_request", "Send the parameters as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=False, strict_parsing=bool(body), errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise Refused("invalid_request", "The form cannot be read.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Refused("invalid_request", "A parameter is sent twice.")
    return form
