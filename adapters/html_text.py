"""The text of an HTML document, read by lexbor in a process of its own with hard limits.

An HTML tree builder takes quadratic time on hostile input (100 KB of unclosed `font` elements: 20 seconds) and holds the
interpreter lock meanwhile, so it must not run inside a worker. This file is run as a script (HTML on standard input, text on
standard output) and therefore imports nothing of ours.
"""

from __future__ import annotations

import re
import resource
import sys
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

CPU_SECONDS: Final = 15
MEMORY_BYTES: Final = 1 << 30

_DROPPED: Final = frozenset(
    ("head", "script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "canvas", "audio", "video", "select")
)
_PARAGRAPHS: Final = frozenset(
    (
        *(
            "address",
            "article",
            "aside",
            "blockquote",
            "body",
            "details",
            "dialog",
            "div",
            "dl",
            "fieldset",
            "figcaption",
            "figure",
        ),
        *(
            "footer",
            "form",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "header",
            "hgroup",
            "hr",
            "main",
            "menu",
            "nav",
            "ol",
            "p",
            "pre",
        ),
        *("section", "summary", "table", "ul", "caption"),
    )
)
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_LINES: Final = frozenset(("br", "dd", "dt", "li", "tr"))
_CELLS: Final = frozenset(("td", "th"))
_KEEPS_SPACE: Final = frozenset(("pre", "textarea"))
_SPACE = re.compile(r"[ \t\n\r\f]+")
_TRAILING = re.compile(r" +$", re.MULTILINE)
_DASH: Final = "- "


class _Page:
    """Text as it is laid out: at most one space between words, one blank line between paragraphs."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._breaks = 0
        self._space = False

    def write(self, text: str, *, verbatim: bool) -> None:
        if verbatim:
            words = text
        else:
            words = _SPACE.sub(" ", text)
            self._space = self._space or words.startswith(" ")
            words = words.strip(" ")
        if not words:
            return
        if self._breaks and self._parts:
            self._parts.append("\n" * self._breaks)
        elif self._space and self._parts:
            self._parts.append(" ")
        self._breaks = 0
        self._space = not verbatim and text[-1] in " \t\n\r\f"
        self._parts.append(words)

    def open_paragraph(self) -> None:
        """A blank line, unless it would part a list item's dash from its text."""
        if not (self._parts and self._parts[-1] == _DASH and not self._breaks):
            self.break_line(2)

    def break_line(self, lines: int) -> None:
        self._breaks, self._space = max(self._breaks, lines), False

    def text(self) -> str:
        return _TRAILING.sub("", "".join(self._parts))


def _enter(page: _Page, tag: str) -> None:
    if tag in _PARAGRAPHS:
        page.open_paragraph()
        if tag in _HEADINGS:
            page.write("#" * int(tag[1]) + " ", verbatim=True)
    elif tag in _LINES:
        page.break_line(1)
        if tag == "li":
            page.write(_DASH, verbatim=True)
    elif tag in _CELLS:
        page.write("| ", verbatim=True)


def _leave(page: _Page, tag: str) -> None:
    if tag in _PARAGRAPHS:
        page.break_line(2)
    elif tag in _LINES:
        page.break_line(1)
    elif tag in _CELLS:
        page.write(" ", verbatim=True)


def _walk(page: _Page, root: LexborNode) -> None:
    """Depth first without recursion: a tree may be a million elements deep."""
    verbatim = 0
    node: LexborNode | None = root
    path: list[tuple[LexborNode, str]] = []
    while node is not None or path:
        if node is None:
            node, tag = path.pop()
            _leave(page, tag)
            verbatim -= tag in _KEEPS_SPACE
            node = node.next if path else None
            continue
        if node.is_text_node:
            page.write(node.text_content or "", verbatim=verbatim > 0)
        elif node.is_element_node:
            tag = node.tag or ""
            if tag not in _DROPPED and "hidden" not in node.attributes:
                _enter(page, tag)
                verbatim += tag in _KEEPS_SPACE
                path.append((node, tag))
                node = node.child
                continue
        node = node.next if path else None


def text_of(html: str) -> str:
    """The title, then the body: paragraphs parted by a blank line; headings, list items and table rows marked as in Markdown."""
    document = LexborHTMLParser(html)
    page = _Page()
    part = document.head.child if document.head is not None else None
    while part is not None:
        if part.tag == "title":
            page.write(part.text(), verbatim=False)
            page.break_line(2)
            break
        part = part.next
    if document.body is not None:
        _walk(page, document.body)
    return page.text()


def main() -> None:
    """Reads UTF-8 from standard input and writes UTF-8 to standard output, within the limits above."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.buffer.write(text_of(sys.stdin.buffer.read().decode()).encode())


if __name__ == "__main__":
    main()
