"""The pages under docs/ that are made from code: `python -m workers.written_pages` writes those that differ."""

from __future__ import annotations

import sys
from pathlib import Path

from api import asyncapi, openapi
from api.app import routed_app
from runtime import settings_doc

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[str, str]:
    """Every made page by its file's name."""
    return {
        "configuration.md": settings_doc.render(),
        "openapi.json": openapi.render(routed_app()),
        "asyncapi.yaml": asyncapi.render(),
    }


def main() -> None:
    """Writes what differs, and names it."""
    for name, text in pages().items():
        path = DOCS / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
