"""Changes of what others may change at the same time: the ETag of what was read, sent back as If-Match (RFC 9110, 13.1.1).

An ETag is the version of a row. Of several changes that name one version a single one wins; the others are told 412.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Header

from domain.errors import PreconditionFailed

_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")

_HEADER: Final[Any] = Header(
    alias="If-Match",
    pattern=r'^(\*|(W/)?"[\x21\x23-\x7e]{0,64}"(, ?(W/)?"[\x21\x23-\x7e]{0,64}"){0,9})$',
    description="The ETag of what was read: the change is made if nobody else has made one meanwhile. `*` is any version.",
    examples=['"1"', "*"],
)

IfMatch = Annotated[str, _HEADER]
"""`if_match: IfMatch` on a route that changes or replaces. Without it the answer is 428 `precondition-required`."""

OptionalIfMatch = Annotated[str | None, _HEADER]
"""`if_match: OptionalIfMatch = None` where a change may also be made whatever the version is."""


def etag(version: int) -> dict[str, str]:
    """The header that names the version."""
    return {"ETag": f'"{version}"'}


def expected_versions(if_match: str) -> tuple[int, ...] | None:
    """The versions that may be changed; None for any. A weak tag never matches (RFC 9110, 8.8.3.2), nor does a tag of others."""
    if if_match == "*":
        return None
    return tuple(int(tag) for weak, tag in _TAG.findall(if_match) if not weak and _VERSION.fullmatch(tag))


def check_match(if_match: str, version: int) -> None:
    """Raises PreconditionFailed when the header names other versions than this one."""
    expected = expected_versions(if_match)
    if expected is not None and version not in expected:
        raise PreconditionFailed("It was changed since that version; read it again, and repeat what is still wanted.")
