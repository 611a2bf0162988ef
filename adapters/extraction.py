"""Plain text out of what was uploaded: text and Markdown as they are, HTML by its structure. Nothing is ever fetched.

What comes out is UTF-8 without byte order mark or control characters, its lines ended by one line feed, so that the offsets of a
citation mean the same everywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from domain.documents import MEDIA_TYPES
from domain.errors import Unprocessable, UnsupportedMediaType

_SCRIPT: Final = Path(__file__).with_name("html_text.py")
_WALL_SECONDS: Final = 40.0
_LINE_ENDS = re.compile("\r\n|[\r\f\x0b\x85\u2028\u2029]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")


def media_type_of(header: str) -> str:
    """The bare media type of a Content-Type, in lower case."""
    return header.partition(";")[0].strip().lower()


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unprocessable(f"The document is not UTF-8 (byte {error.start}); save it as UTF-8 and upload it again.") from None
    found = _CONTROLS.search(text)
    if found is not None:
        raise Unprocessable(
            f"The document holds the control character U+{ord(found[0]):04X} at character {found.start()}; "
            "remove it, or upload a text instead of a binary file."
        )
    return text


def _html(text: str) -> str:
    # Isolated mode and an empty environment: the parser of hostile bytes gets no secret and no path of ours.
    argv = [sys.executable, "-I", str(_SCRIPT)]
    try:
        done = subprocess.run(argv, input=text.encode(), capture_output=True, env={}, timeout=_WALL_SECONDS, check=True)  # noqa: S603 - our own script
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise Unprocessable("The HTML is nested too deeply to be read; simplify it or upload it as plain text.") from None
    # A character reference may still have made a control character.
    return _CONTROLS.sub("", done.stdout.decode())


class PlainTextExtractor:
    """Implements `domain.ports.documents.TextExtractor`."""

    def extract(self, data: bytes, media_type: str) -> str:
        """The text of a text, Markdown or HTML document. Blocks, for HTML up to 40 seconds: call it in a thread.

        Raises UnsupportedMediaType, and Unprocessable for bytes that are not UTF-8, for control characters, for HTML that
        is built to exhaust its reader, and for a document without any text.
        """
        kind = media_type_of(media_type)
        if kind not in MEDIA_TYPES:
            raise UnsupportedMediaType(f"Documents are one of {', '.join(MEDIA_TYPES)}.")
        text = _decode(data)
        if kind == "text/html":
            text = _html(text)
        text = _LINE_ENDS.sub("\n", text)
        if not text.strip():
            raise Unprocessable("The document holds no text; upload one that does.")
        return text
