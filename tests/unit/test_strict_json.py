"""JSON at the edge: what every reader understands alike comes in, everything else is a 400 that quotes nothing."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.edge_types import CleanText, Name, Prompt, unclean_character
from api.strict_json import MAX_DEPTH, MAX_VALUES, parse_json
from domain.errors import InvalidRequest

clean_text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=30
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53 - 1), 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | clean_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(clean_text, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_sound_json_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    with suppress(InvalidRequest):
        parse_json(data)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "number"),
        (b"[9007199254740992]", "number"),
        (b"[" + b"9" * 5000 + b"]", "number"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "twice"),
        (b"[" * 100_000, "nested"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested"),
        (b"[" + b"0," * MAX_VALUES + b"0]", "values"),
        (b'["\\u0000"]', "control"),
        (b'["\\u0007"]', "control"),
        (b'["\x07"]', "not JSON"),
        (b'["\\u001b[31m"]', "control"),
        (b'["\\u0085"]', "control"),
        (b'["\\r"]', "control"),
        (b'["\\r\\r\\n"]', "control"),
        (b'["\\ud800"]', "control"),
        (b'["\\udc00\\ud800"]', "control"),
        (b'{"\\u0000": 1}', "control"),
    ],
)
def test_what_readers_differ_on_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse_json(body)


def test_the_pointer_leads_to_the_text() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_json(b'{"a": {"b/c~": ["x", "\\u0001"]}}')
    assert caught.value.members["errors"] == [{"pointer": "#/a/b~1c~0/1", "detail": "Text may not hold the character U+0001"}]


@given(clean_text)
def test_no_refusal_quotes_the_body(text: str) -> None:
    marker = f"MARKER{text}MARKER"
    for body in (json.dumps({"a": marker}) + "x", json.dumps({"a": marker + "\u0000"}), f'{{"{json.dumps(marker)[1:-1]}": NaN}}'):
        with pytest.raises(InvalidRequest) as caught:
            parse_json(body.encode())
        assert "MARKER" not in str(caught.value.detail) + str(caught.value.members)


def test_allowed_depth_and_lines_pass() -> None:
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    assert parse_json(b'"a\\tb\\nc\\r\\nd"') == "a\tb\nc\r\nd"
    assert parse_json('"\\ud83d\\ude00é日"'.encode()) == "😀é日"


def test_a_whole_number_is_one_however_it_is_written() -> None:
    for text in (b"9", b"9.0", b"0.9e1", b"90E-1"):
        assert (parse_json(text), type(parse_json(text))) == (9, int)
    assert type(parse_json(b"9.5")) is float
    assert parse_json(b"-0.0") == 0


class Message(BaseModel):
    text: CleanText


@given(st.text())
def test_clean_text_is_what_the_edge_lets_in(text: str) -> None:
    if unclean_character(text) is None:
        assert Message(text=text).text == text.replace("\r\n", "\n")
        assert unclean_character(Message(text=text).text) is None
    else:
        with pytest.raises(ValidationError):
            Message(text=text)


@given(st.text(st.characters(codec="utf-8")) | st.text("a\r\n\t\u0007\u0085"))
def test_the_documented_patterns_say_the_same(text: str) -> None:
    for kind in (CleanText, Name, Prompt):
        documented = TypeAdapter(kind).json_schema()
        # As ECMAScript reads it: there `$` is the end and not also a newline before it.
        matches = re.fullmatch(documented["pattern"].removeprefix("^").removesuffix("$"), text) is not None
        matches = matches and documented.get("minLength", 0) <= len(text)
        try:
            TypeAdapter(kind).validate_python(text)
        except ValidationError:
            assert not matches
        else:
            assert matches


def test_lengths_are_bounded() -> None:
    assert TypeAdapter(Prompt).validate_python("x" * 200_000)
    for kind, text in ((Prompt, ""), (Prompt, "x" * 200_001), (Name, ""), (Name, "two\nlines"), (Name, "x" * 201)):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text)
