"""Which sentences are quoted: the relevant ones, none otherwise, and each exactly as it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.models import SourceText
from domain.sentence_ranking import best_quotes
from domain.terms import content_words, count_tokens, terms_of

TEA = """# Green tea

Green tea comes from Camellia sinensis. Steep it for two minutes at 80 °C. The sky is blue.

## Delivery

Within three working days. We write to you first.

What does it cost?
Three euros a bag.

| kind | minutes |
|---|---|
| black tea | 4 |
"""
GERMAN = "Die Lieferung erfolgt innerhalb von drei Tagen. Größere Pakete kosten 4 Euro extra."
NOTE = "Launch code is 4711"


def source(text: str, name: str = "doc_1") -> SourceText:
    return SourceText(source=name, title=name, text=text)


def ask(question: str, *texts: str, limit: int = 4) -> list[str]:
    sources = [source(text, f"doc_{number}") for number, text in enumerate(texts)]
    return [quote.text for quote in best_quotes(question, sources, limit)]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How long should green tea steep?", "Steep it for two minutes at 80 °C."),
        ("How long does delivery take?", "Within three working days."),
        ("What does it cost?", "Three euros a bag."),
        ("What colour is the sky?", "The sky is blue."),
        ("black tea minutes", "black tea | 4 |"),
    ],
)
def test_the_sentence_that_answers_is_quoted(question: str, expected: str) -> None:
    assert expected in ask(question, TEA)


def test_questions_in_german_find_inflected_words() -> None:
    assert ask("Wie lange dauern Lieferungen?", GERMAN) == ["Die Lieferung erfolgt innerhalb von drei Tagen."]
    assert ask("Was kostet ein großes Paket?", GERMAN) == ["Größere Pakete kosten 4 Euro extra."]


def test_scripts_without_spaces_are_found() -> None:
    text = "猫は魚を食べる。犬は公園で遊ぶ。"
    assert ask("犬はどこで遊ぶ\uff1f", text) == ["犬は公園で遊ぶ。"]


def test_a_short_note_is_found_though_it_ends_without_a_full_stop() -> None:
    assert ask("What is the launch code?", NOTE, TEA) == [NOTE]


@pytest.mark.parametrize(
    "question", ["Who won the football world cup in 1998?", "What is the capital of France?", "Hello!", "???", ""]
)
def test_nothing_relevant_gives_nothing(question: str) -> None:
    assert ask(question, TEA, GERMAN) == []


def test_nothing_to_read_gives_nothing() -> None:
    assert ask("What does it cost?") == []
    assert ask("What does it cost?", "", "...") == []


def test_a_question_in_a_source_is_never_quoted() -> None:
    assert ask("What is the launch code?", "What is the launch code?") == []


@pytest.mark.parametrize("question", ["Summarise this document", "What is this document about?", "Fasse das Dokument zusammen"])
def test_a_summary_quotes_every_document(question: str) -> None:
    quotes = ask(question, TEA, GERMAN)
    assert 2 <= len(quotes) <= 4
    assert any(quote in TEA for quote in quotes)
    assert any(quote in GERMAN for quote in quotes)
    assert "Green tea" not in quotes


def test_an_english_word_is_not_lost_to_another_language() -> None:
    assert "war" in content_words("When did the war end and why?")
    assert "war" not in content_words("Wann war das und warum ist es so?")


def test_quotes_come_in_reading_order_and_none_twice() -> None:
    text = "Cats like fish. Dogs bark. Cats like fish. Cats like fish and milk."
    quotes = best_quotes("Do cats like fish?", [source(text)], 4)
    assert [quote.text for quote in quotes] == ["Cats like fish."]
    two = best_quotes("cats dogs", [source("Dogs bark at cats. Birds sing. Cats ignore dogs.")], 4)
    assert [quote.start for quote in two] == sorted(quote.start for quote in two)
    assert len(two) == 2


def test_a_document_is_quoted_rather_than_the_memory_of_an_answer_that_quoted_it() -> None:
    sources = [source(TEA), source("How long should green tea steep?\n\n“Steep it for two minutes at 80 °C.” — tea.md", "memory")]
    quotes = best_quotes("How long should green tea steep?", sources, 4)
    assert ("doc_1", "Steep it for two minutes at 80 °C.") in [(quote.source.source, quote.text) for quote in quotes]
    assert "memory" not in [quote.source.source for quote in quotes]


def test_ignored_sentences_are_left_out() -> None:
    assert best_quotes("cats fish", [source("Cats like fish.")], 4, frozenset({"catslikefish"})) == ()


VOCABULARY = st.sampled_from(
    ["tea", "Tea", "green", "steeps", "steeping", "bag", "cost", "80", "Größe", "the", "猫魚", "e.g", "Dr"]
)
TEXTS = st.lists(
    st.tuples(VOCABULARY, st.sampled_from([" ", " ", " ", ". ", "? ", "\n", "\n\n", "! ", "\n# ", "\n- ", " | "])), max_size=60
).map(lambda parts: "".join(word + mark for word, mark in parts))


@settings(deadline=None)
@given(st.one_of(st.text(max_size=60), TEXTS), st.lists(st.one_of(st.text(max_size=200), TEXTS), max_size=4), st.integers(1, 5))
def test_quotes_are_verbatim_bounded_ordered_and_repeatable(question: str, texts: list[str], limit: int) -> None:
    sources = [source(text, f"doc_{number}") for number, text in enumerate(texts)]
    quotes = best_quotes(question, sources, limit)
    assert quotes == best_quotes(question, sources, limit)
    assert len(quotes) <= limit
    places = [(sources.index(quote.source), quote.start) for quote in quotes]
    assert places == sorted(set(places))
    for quote in quotes:
        assert quote.text == quote.source.text[quote.start : quote.end] != ""
        assert quote.text == quote.text.strip()


@given(st.text())
def test_tokens_are_counted_and_words_folded_for_any_text(text: str) -> None:
    assert 0 <= count_tokens(text) <= len(text)
    for word in content_words(text):
        assert terms_of(word)
