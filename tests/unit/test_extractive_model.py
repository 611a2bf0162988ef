"""The embedded models: what they read, how they answer, that they never hold up the event loop."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.providers.extractive import NOTHING_FITS, NOTHING_RELEVANT, NOTHING_TO_READ, ExtractiveModel, answer
from domain.catalogue import EMBEDDED_EMBEDDINGS, EMBEDDED_MODEL
from domain.errors import UnsupportedByModel
from domain.lexical_embedding import DIMENSIONS
from domain.models import (
    ChatMessage,
    Completion,
    CompletionRequest,
    EmbeddingRequest,
    ImagePart,
    JsonSchemaFormat,
    SourceText,
    TextDelta,
    ToolDefinition,
)
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
        ExtractiveModel().complete(EMBEDDED_MODEL, ask("How long does tea steep?", TEA.model_copy(update={"text": text})))
    )
    began = last = time.monotonic()
    longest = 0.0
    while not working.done():
        await asyncio.wait((working,), timeout=0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert "The tea steeps two minutes." in (await working).text
    assert longest < 0.5 * (last - began)


async def test_its_stream_is_its_answer() -> None:
    texts = ("Green tea steeps for two minutes.", "Black tea steeps for four minutes, white tea for one.")
    sources = tuple(SourceText(source=f"doc_{len(text)}", title="tea.txt", text=text) for text in texts)
    items = [item async for item in ExtractiveModel().stream(EMBEDDED_MODEL, ask("How long does tea steep?", *sources))]
    *deltas, whole = items
    assert isinstance(whole, Completion)
    assert len(deltas) == len(whole.citations) > 1
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == whole.text


@pytest.mark.parametrize(
    "wanted",
    [
        {"tools": (ToolDefinition(name="look_up"),)},
        {"format": JsonSchemaFormat()},
        {"messages": (ChatMessage(role="user", content="?", images=(ImagePart(media_type="image/png", data="AAAA"),)),)},
    ],
)
async def test_what_it_cannot_do_it_refuses(wanted: dict[str, object]) -> None:
    model, asked = ExtractiveModel(), ask("How long does tea steep?", TEA).model_copy(update=wanted)
    with pytest.raises(UnsupportedByModel):
        await model.complete(EMBEDDED_MODEL, asked)
    with pytest.raises(UnsupportedByModel):
        [item async for item in model.stream(EMBEDDED_MODEL, asked)]


async def test_it_embeds_and_each_of_the_two_does_its_own_work() -> None:
    model = ExtractiveModel()
    wanted = EmbeddingRequest(texts=("the harbour", "a violin"), idempotency_key="k")
    said = await model.embed(EMBEDDED_EMBEDDINGS, wanted)
    assert [len(vector) for vector in said.vectors] == [DIMENSIONS, DIMENSIONS]
    assert (said.model, said.usage.input_tokens, said.usage.estimated) == ("soma-lexical", 4, False)
    shorter = await model.embed(EMBEDDED_EMBEDDINGS, wanted.model_copy(update={"dimensions": 64}))
    assert {len(vector) for vector in shorter.vectors} == {64}
    for model_name, dimensions in ((EMBEDDED_EMBEDDINGS, DIMENSIONS + 1), (EMBEDDED_MODEL, None)):
        with pytest.raises(UnsupportedByModel):
            await model.embed(model_name, wanted.model_copy(update={"dimensions": dimensions}))
    with pytest.raises(UnsupportedByModel):
        await model.complete(EMBEDDED_EMBEDDINGS, ask("x"))
