"""The embedded model: what it reads, how it answers, that it never holds up the event loop."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.providers.extractive import NOTHING_FITS, NOTHING_RELEVANT, NOTHING_TO_READ, ExtractiveModel, answer
from domain.models import ChatMessage, CompletionRequest, SourceText
from domain.terms import count_tokens

TEA = SourceText(source="doc_1", title="tea.txt", text="Green tea steeps for two minutes. The shop opens at nine.")


def ask(question: str, *sources: SourceText, earlier: tuple[ChatMessage, ...] = (), tokens: int = 1024) -> CompletionRequest:
    messages = (*earlier, ChatMessage(role="user", content=question, source="trn_9"))
    return CompletionRequest(messages=messages, sources=sources, max_output_tokens=tokens, idempotency_key="k")


def test_it_quotes_the_users_earlier_messages_and_nobody_elses() -> None:
    earlier = (
        ChatMessage(role="system", content="The code is 1.", source="sys"),
        ChatMessage(role="user", content="The code is 4711.", source="trn_1"),
        ChatMessage(role="assistant", content="The code is 9999.", source="trn_1"),
        ChatMessage(role="user", content="The code is 5.", source=None),
    )
    said = answer(ask("What is the code?", earlier=earlier))
    assert said.text == "\u201cThe code is 4711.\u201d \u2014 an earlier message"
    assert [(citation.source, citation.start, citation.end) for citation in said.citations] == [("trn_1", 0, 17)]


def test_it_says_plainly_why_it_cannot_answer() -> None:
    assert answer(ask("What is the code?")).text == NOTHING_TO_READ
    assert answer(ask("What is the code?", TEA)).text == NOTHING_RELEVANT
    short = answer(ask("How long does tea steep?", TEA, tokens=3))
    assert (short.text, short.finish_reason, short.citations) == (NOTHING_FITS, "length", ())


def test_it_does_not_quote_itself() -> None:
    remembered = SourceText(source="ses/trn", title="memory", text=f"Where are my documents?\n\n{NOTHING_RELEVANT}")
    assert answer(ask("Is there a sentence in my documents or messages of this session?", remembered)).text == NOTHING_RELEVANT


def test_usage_is_counted_by_its_own_tokens() -> None:
    request = ask("How long does tea steep?", TEA)
    said = answer(request)
    assert said.usage.input_tokens == count_tokens("How long does tea steep?") + count_tokens(TEA.text)
    assert said.usage.output_tokens == count_tokens(said.text)
    assert not said.usage.estimated


@settings(deadline=None)
@given(st.text(max_size=50), st.lists(st.text(max_size=300), max_size=3), st.integers(1, 200))
def test_every_citation_is_verbatim_and_the_answer_repeatable(question: str, texts: list[str], tokens: int) -> None:
    sources = tuple(SourceText(source=f"doc_{number}", title=f"t{number}", text=text) for number, text in enumerate(texts))
    request = ask(question, *sources, tokens=tokens)
    said = answer(request)
    assert said == answer(request)
    by_id = {source.source: source.text for source in sources}
    for citation in said.citations:
        assert f"\u201c{by_id[citation.source][citation.start : citation.end]}\u201d" in said.text
    if said.citations:
        assert said.usage.output_tokens <= tokens + len(said.citations)


async def test_a_large_document_leaves_the_event_loop_free() -> None:
    text = "".join(f"Line {number} speaks of nothing in particular. " for number in range(20_000)) + "The tea steeps two minutes."
    working = asyncio.create_task(
        ExtractiveModel().complete(ask("How long does tea steep?", TEA.model_copy(update={"text": text})))
    )
    began = last = time.monotonic()
    longest = 0.0
    while not working.done():
        await asyncio.wait((working,), timeout=0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert "The tea steeps two minutes." in (await working).text
    assert longest < 0.5 * (last - began)
