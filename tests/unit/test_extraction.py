"""Text out of uploads: what is kept, what is refused, and that hostile HTML costs little."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.extraction import PlainTextExtractor
from adapters.html_text import text_of
from domain.errors import Unprocessable, UnsupportedMediaType

EXTRACTOR = PlainTextExtractor()
CONTROLS = [chr(code) for code in (*range(32), 127, *range(0x80, 0xA0)) if chr(code) not in "\t\n\r\f\x0b\x85"]


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "TEXT/Plain; charset=utf-8"])
def test_text_and_markdown_are_kept_as_they_are(media_type: str) -> None:
    assert EXTRACTOR.extract("# Größe\n\n*x*\t<b>".encode(), media_type) == "# Größe\n\n*x*\t<b>"


def test_line_ends_become_one_and_the_byte_order_mark_goes() -> None:
    assert EXTRACTOR.extract("\ufeffa\r\nb\rc\x0cd\u2028e\x85f".encode(), "text/plain") == "a\nb\nc\nd\ne\nf"


@given(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters=[*CONTROLS, *"\r\f\x0b\x85\u2028\u2029\ufeff"]), min_size=1
    )
)
def test_any_clean_text_comes_out_unchanged(text: str) -> None:
    if text.strip():
        assert EXTRACTOR.extract(text.encode(), "text/plain") == text


@pytest.mark.parametrize("data", [b"\xff\xfe\x00a", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
@pytest.mark.parametrize("media_type", ["text/plain", "text/html"])
def test_what_is_not_utf_8_is_refused(data: bytes, media_type: str) -> None:
    with pytest.raises(Unprocessable, match="not UTF-8"):
        EXTRACTOR.extract(data, media_type)


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_are_refused(control: str) -> None:
    with pytest.raises(Unprocessable, match=f"U\\+{ord(control):04X} at character 3"):
        EXTRACTOR.extract(f"abc{control}".encode(), "text/plain")


@pytest.mark.parametrize(
    ("data", "media_type"), [(b"", "text/plain"), (b" \n\t", "text/markdown"), (b"<p><script>x</script>", "text/html")]
)
def test_a_document_without_text_is_refused(data: bytes, media_type: str) -> None:
    with pytest.raises(Unprocessable, match="no text"):
        EXTRACTOR.extract(data, media_type)


@pytest.mark.parametrize("media_type", ["application/pdf", "text/csv", ""])
def test_other_media_types_are_refused(media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        EXTRACTOR.extract(b"x", media_type)


PAGE = """<!doctype html><html><head><title>Tea &amp; more</title><style>p{}</style></head><body onload=evil()>
<h1>Green   <b>tea</b></h1><p>It is <i>good</i>.<br>Next &lt;line&gt; a&nbsp;b</p>
<ul><li>one<li><p>two</p></ul><table><tr><td>1<td>2<tr><th>3</table><pre>  keep
   this</pre><script>bad()</script><template><p>no</p></template><p hidden>no</p><svg><title>no</title></svg><img src=http://x/>end"""


def test_html_gives_its_title_and_its_blocks() -> None:
    assert EXTRACTOR.extract(PAGE.encode(), "text/html") == (
        "Tea & more\n\n# Green tea\n\nIt is good.\nNext <line> a\xa0b\n\n- one\n- two\n\n| 1 | 2\n| 3\n\n  keep\n   this\n\nend"
    )


def test_character_references_make_neither_surrogates_nor_controls() -> None:
    assert EXTRACTOR.extract(b"<p>a&#xD800;b&#1;c&#0;d", "text/html") == "a\ufffdbc\ufffdd"


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<li>", "<pre>", "</pre>", "<b>", "</b>", "<td>", "<template>", "&lt;", " ", "x", "\n", "<"]
        )
    )
)
def test_any_html_reads_and_the_letters_outside_templates_stay(parts: list[str]) -> None:
    html = "".join(parts)
    text = text_of(html)
    assert "<p>" not in text
    if "<template>" not in html and "<" not in parts:
        assert text.count("x") == html.count("x")


def test_a_deep_tree_needs_no_deep_stack() -> None:
    assert text_of("<i>" * 20_000 + "x") == "x"


def test_html_built_to_exhaust_its_reader_is_refused_in_time() -> None:
    hostile = "".join(f"<font size={number}><p>" for number in range(20_000))
    started = time.monotonic()
    with pytest.raises(Unprocessable, match="nested"):
        EXTRACTOR.extract(hostile.encode(), "text/html")
    assert time.monotonic() - started < 45
