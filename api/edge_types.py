"""Text as it may come in: bounded, without control characters and unpaired surrogates.

Line ends of Windows become `\\n` before anything else sees the text, so that offsets and digests mean the same everywhere.
Numbers and booleans of a request's body are declared `Annotated[int, Strict()]`: without it pydantic takes `"7"` and `true`
for a number.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

_UNCLEAN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_NEVER: Final = r"\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufffe\uffff"
TEXT_PATTERN: Final = rf"^([^{_NEVER}]|\r\n)*$"
"""The same as a pattern of JSON Schema, for the OpenAPI document. JSON itself rules the surrogates out."""

LINE_PATTERN: Final = rf"^[^\t\n{_NEVER}]+$"


def unclean_character(text: str) -> str | None:
    """Names the first character that no text may hold (`U+0007`): a control character other than tab and newline, a
    surrogate without its other half, or a noncharacter. CRLF is a line end. None for clean text."""
    for match in _UNCLEAN.finditer(text):
        if match[0] == "\r" and text[match.end() : match.end() + 1] == "\n":
            continue
        return f"U+{ord(match[0]):04X}"
    return None


def _clean(text: str) -> str:
    if (found := unclean_character(text)) is not None:
        raise ValueError(f"Text may not hold the character {found}")
    return text.replace("\r\n", "\n")


CleanText = Annotated[str, AfterValidator(_clean), Field(json_schema_extra={"pattern": TEXT_PATTERN})]
"""Text of any length; the body limit of the route bounds it."""

Prompt = Annotated[CleanText, StringConstraints(min_length=1, max_length=200_000)]
"""A message to a model. The constitution's limit in bytes may be lower."""

Name = Annotated[
    CleanText,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\n\t]+$"),
    Field(json_schema_extra={"pattern": LINE_PATTERN}),
]
"""One line."""

Comment = Annotated[CleanText, StringConstraints(max_length=500)]
"""A remark of an approver."""

MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetadataValue = Annotated[CleanText, StringConstraints(max_length=512)]

NO_OTHER_KEYS: Final = {"additionalProperties": False}
"""`json_schema_extra` of a dictionary whose keys have a pattern: without it the document would allow every other key too."""
