"""`ETag` and `If-Match` (RFC 9110, 8.8.3 and 13.1.1) of things that count their versions."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Header

from domain.errors import InvalidRequest, PreconditionFailed, PreconditionRequired

_TAGS: Final = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*\Z')
_STRONG: Final = re.compile(r'(?<!/)"([\x21\x23-\x7e]*)"')

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=200,
        description="The ETag of the version this changes; `*` for whichever it is. Without it the answer is 428, and 412 when "
        "the thing was changed since.",
        examples=['"1"'],
    ),
]
"""`if_match: IfMatch = None` in a route."""


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def check_match(if_match: str | None, version: int) -> None:
    """Raises PreconditionRequired without the header, InvalidRequest for one that is none, PreconditionFailed when it names
    another version."""
    if if_match is None:
        raise PreconditionRequired("Say which version this changes: send the ETag it was read with as If-Match.")
    if if_match.strip() == "*":
        return
    if _TAGS.match(if_match) is None:
        raise InvalidRequest('If-Match holds an ETag in double quotes, such as "1", or *.')
    if str(version) not in _STRONG.findall(if_match):
        raise PreconditionFailed("It was changed since that version; read it again, and repeat what is still wanted.")
