"""If-Match as RFC 9110 has it: which versions a change may be made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.preconditions import IfMatch, etag, expected_versions

PATTERN = re.compile(next(part.pattern for part in IfMatch.__metadata__[0].metadata if getattr(part, "pattern", None)))


@given(st.lists(st.integers(1, 2**53), min_size=1, max_size=10))
def test_the_tags_that_were_read_are_the_versions(versions: list[int]) -> None:
    header = ", ".join(etag(version)["ETag"] for version in versions)
    assert PATTERN.search(header)
    assert expected_versions(header) == tuple(versions)


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ("*", None),
        ('"1"', (1,)),
        ('W/"1"', ()),
        ('W/"1", "2"', (2,)),
        ('"two", "0", "-1", "01", "1.0", ""', ()),
        (f'"{"9" * 30}"', ()),
    ],
)
def test_no_other_tag_matches(header: str, versions: tuple[int, ...] | None) -> None:
    assert PATTERN.search(header)
    assert expected_versions(header) == versions


@pytest.mark.parametrize("header", ["", "1", "'1'", '"1', '"1""2"', '"1",', '*, "1"', "**", '"a b"', '"1"\n'])
def test_what_is_no_if_match_is_told_from_it(header: str) -> None:
    assert not PATTERN.fullmatch(header)
