"""The pages made from code are those that are committed."""

from __future__ import annotations

import pytest

from workers.written_pages import DOCS, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], f"docs/{name} is out of date: run `make docs`"
