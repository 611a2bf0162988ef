"""The parameters of a token exchange (RFC 8693, 2.1), read and checked as far as they can be without a look at the tokens.

`expires_in`, `budget_cap` and `budget_unit` are extensions: how long the token lives at most, and what its calls may use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

from api.oauth.models import ACCESS, Refused
from domain.names import TOKENS
from runtime.settings import Settings

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_NUMBER: Final = re.compile(r"[0-9]{1,16}\Z", re.ASCII)
_UNIT: Final = re.compile(r"(?:tokens|[A-Z]{3})\Z")
_LARGEST: Final = 2**53 - 1

_TYPE: Final = f"With a token exchange: `{ACCESS}`."
# Without patterns: with other grants these parameters are ignored, whatever they hold (RFC 6749, 3.2).
FIELDS: Final[dict[str, Any]] = {
    "subject_token": {"type": "string", "description": "The access token to delegate from (token exchange)."},
    "subject_token_type": {"type": "string", "description": _TYPE},
    "actor_token": {
        "type": "string",
        "description": "An access token of whoever is to act; the client itself acts when it is left out.",
    },
    "actor_token_type": {"type": "string", "description": _TYPE},
    "requested_token_type": {"type": "string", "description": _TYPE},
    "resource": {"type": "string", "description": "Where the token is to be used (RFC 8707): this gateway's own address."},
    "audience": {"type": "string", "description": "The `aud` of our access tokens, or this gateway's own address."},
    "expires_in": {
        "type": "string",
        "description": "Whole seconds the delegated token lives at most; never longer than the token it comes from.",
    },
    "budget_cap": {
        "type": "string",
        "description": "What model calls of the delegated token, and of those delegated from it, may use in all.",
    },
    "budget_unit": {
        "type": "string",
        "description": "`tokens`, or the three letters of a currency, whose millionths are counted.",
    },
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A token exchange that was asked for. `seconds` None: as long as may be; `cap` None: no budget of its own."""

    subject_token: str
    actor_token: str | None
    scopes: tuple[str, ...]
    seconds: int | None
    cap: int | None
    unit: str

    @classmethod
    def read(cls, form: dict[str, str], settings: Settings) -> Self:
        """Raises Refused, with `invalid_target` for another resource or audience than this gateway."""
        _check_type(form, "subject_token", required=True)
        _check_type(form, "actor_token", required=False)
        if form.get("requested_token_type", ACCESS) != ACCESS:
            raise Refused("invalid_request", f"Only {ACCESS} is issued.")
        _check_target(form, settings)
        if "budget_unit" in form and "budget_cap" not in form:
            raise Refused("invalid_request", "budget_unit goes with budget_cap.")
        unit = form.get("budget_unit", TOKENS)
        if _UNIT.match(unit) is None:
            raise Refused("invalid_request", "budget_unit is `tokens` or the three letters of a currency.")
        return cls(
            subject_token=form["subject_token"],
            actor_token=form.get("actor_token"),
            scopes=tuple(dict.fromkeys(form.get("scope", "").split())),
            seconds=_number(form, "expires_in", least=1),
            cap=_number(form, "budget_cap", least=0),
            unit=unit,
        )


def _check_type(form: dict[str, str], name: str, *, required: bool) -> None:
    kind = f"{name}_type"
    if name not in form and kind not in form and not required:
        return
    if name not in form:
        raise Refused("invalid_request", f"{name} is missing; send the access token.")
    if form.get(kind) != ACCESS:
        raise Refused("invalid_request", f"{kind} must be {ACCESS}.")


def _check_target(form: dict[str, str], settings: Settings) -> None:
    ours = settings.public_url.rstrip("/")
    resource, audience = form.get("resource"), form.get("audience")
    if resource is not None and (not _is_absolute(resource) or resource.rstrip("/") != ours):
        raise Refused("invalid_target", f"resource must be this gateway: {ours}, without a fragment.")
    if audience is not None and audience not in (settings.token_audience, ours):
        raise Refused("invalid_target", f"audience must be {settings.token_audience}: tokens for others are not issued here.")


def _is_absolute(uri: str) -> bool:
    """Whether it is an absolute URI without a fragment (RFC 8707, 2)."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and "#" not in uri


def _number(form: dict[str, str], name: str, *, least: int) -> int | None:
    text = form.get(name)
    if text is None:
        return None
    value = int(text) if _NUMBER.match(text) else -1
    if not least <= value <= _LARGEST:
        raise Refused("invalid_request", f"{name} must be a whole number of at least {least}.")
    return value
