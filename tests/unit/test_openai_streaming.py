"""Streams on OpenAI's paths: what was sent is never taken back, and however a stream ends its reader is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_views import running, view
from starlette.requests import Request

from api.context import EdgeContext, edge_context
from api.event_streams import StreamPlaces
from api.openai_surface.calls import Call, settled
from api.openai_surface.chat_models import ChatCompletionBody
from api.openai_surface.chat_stream import ChatStream
from api.openai_surface.listing import Named
from api.openai_surface.streaming import StreamedAnswer
from domain.actors import Actor
from domain.errors import DependencyUnavailable, Forbidden, ModelContentFiltered, ModelOverloaded, ModelTimedOut
from domain.models import ChatMessage
from domain.sessions import TurnError
from domain.slm import ChatInput, SlmStatus, SlmView
from domain.token_streams import Mark, StreamRestart, StreamText
from runtime.ids import new_uuid

Piece = StreamText | StreamRestart


class Ports:
    """What the gateway has, for one stream: a request that ends as told, and a client that stands or does not."""

    def __init__(self, end: SlmView | Exception, *, stands: bool = True) -> None:
        self.end, self.stands_still = end, stands
        self.cancelled = 0
        self.streams = StreamPlaces(heartbeat_seconds=0.05)
        self.standing = self.slm = self.temporal = self

    async def stands(self, _actor: Actor) -> bool:
        return self.stands_still

    async def wait(self, _tenant: str, _request: str, _seconds: float) -> SlmView:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def get_workflow_handle(self, _workflow_id: str) -> Any:
        async def cancel(**_options: Any) -> None:
            self.cancelled += 1

        return SimpleNamespace(cancel=cancel)


def call_of(ports: Any, *, key: str | None = None, cancel: bool = False) -> Call:
    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": [], "path": "/v1/chat/completions"}
    EdgeContext("req_1", "0").bind(scope)
    return Call(
        request=Request(scope, receive),
        services=ports,
        actor=Actor(tenant_id="demo", subject="s", client_id="c", scopes=(), jti="j"),
        key=key,
        body=ChatCompletionBody.model_validate({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        meant=Named("dialogue_reasoning"),
        asked=ChatInput(messages=(ChatMessage(role="user", content="x"),)),
        cancel_on_disconnect=cancel,
    )


async def pieces(*given_out: str | Exception | None, hold: bool = False) -> AsyncGenerator[Piece]:
    """Texts; None for the beginning of another attempt."""
    mark = Mark()
    for item in given_out:
        if isinstance(item, Exception):
            raise item
        if item is None:
            mark = Mark(attempt=mark.attempt + 1)
            yield StreamRestart(mark=mark)
        else:
            mark = mark.after(item)
            yield StreamText(mark=mark, text=item)
        await asyncio.sleep(0)
    if hold:
        await asyncio.Event().wait()


def answer_of(ports: Ports, source: AsyncGenerator[Piece], *, cancel: bool = False) -> StreamedAnswer:
    writer = ChatStream(running(), "asked", include_usage=False)
    return StreamedAnswer(call_of(ports, cancel=cancel), new_uuid(), writer, source)


async def read(answer: StreamedAnswer) -> tuple[str, list[Any]]:
    """The text that a client sees, and what the other chunks say: why it ended, or an error."""
    await answer.first_word()
    text, told = "", []
    async for raw in answer.written():
        if raw.startswith(b":"):
            continue
        data = raw.decode().removeprefix("data: ").strip()
        if data == "[DONE]":
            told.append(data)
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            told.append(chunk["error"]["code"])
            continue
        choice = chunk["choices"][0]
        text += choice["delta"].get("content") or ""
        told += [choice["finish_reason"]] if choice["finish_reason"] else []
    await answer.close()
    return text, told


async def test_pieces_and_the_rest() -> None:
    assert await read(answer_of(Ports(view(text="Good day.")), pieces("Good", " d"))) == ("Good day.", ["stop", "[DONE]"])
    assert await read(answer_of(Ports(view(text="Good day.")), pieces())) == ("Good day.", ["stop", "[DONE]"])


@given(st.lists(st.text(max_size=5), max_size=5), st.lists(st.text(max_size=5), max_size=5), st.booleans())
async def test_what_was_sent_is_never_taken_back(first: list[str], second: list[str], same: bool) -> None:
    """Another attempt writes the answer anew: the reader ends up with it, or is told that it does not have it."""
    whole = "".join(first) + "".join(second) if same else "".join(second)
    anew = [*first, *second] if same else second
    restarted = [None] if any(first) else []
    seen, told = await read(answer_of(Ports(view(text=whole)), pieces(*first, *restarted, *anew)))
    assert whole.startswith(seen) or told == ["model_stream_broken", "[DONE]"]
    if told == ["stop", "[DONE]"]:
        assert seen == whole
    if same or whole.startswith("".join(first)):
        assert told == ["stop", "[DONE]"]


REFUSED = TurnError(type="model-content-filtered", detail="Refused.")


@pytest.mark.parametrize(
    "held", [view(status=SlmStatus.DENIED, text=None), view(status=SlmStatus.FAILED, text=None, provider=None, error=REFUSED)]
)
async def test_an_answer_withheld_in_the_middle_ends_as_such(held: SlmView) -> None:
    assert await read(answer_of(Ports(held), pieces("So far. "))) == ("So far. ", ["content_filter", "[DONE]"])


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (view(status=SlmStatus.FAILED, error=TurnError(type="model-overloaded", detail="Busy.")), "model_overloaded"),
        (view(status=SlmStatus.CANCELLED), "conflict"),
        (DependencyUnavailable("Postgres is away."), "dependency_unavailable"),
    ],
)
async def test_a_failure_after_the_first_word_is_told_in_the_stream(end: Any, code: str) -> None:
    assert await read(answer_of(Ports(end), pieces("So"))) == ("So", [code, "[DONE]"])


async def test_an_answer_refused_before_the_first_word_is_an_error() -> None:
    refused = view(status=SlmStatus.FAILED, text=None, provider=None, error=REFUSED)
    with pytest.raises(ModelContentFiltered):
        await answer_of(Ports(refused), pieces()).first_word()


async def test_a_failure_before_the_first_word_is_raised() -> None:
    failed = view(status=SlmStatus.FAILED, provider=None, error=TurnError(type="model-overloaded", detail="Busy."))
    with pytest.raises(ModelOverloaded):
        await answer_of(Ports(failed), pieces()).first_word()
    with pytest.raises(DependencyUnavailable):
        await answer_of(Ports(view()), pieces(DependencyUnavailable("Away."))).first_word()


async def test_a_stream_ends_with_the_authority_or_the_gateway() -> None:
    ports = Ports(view(), stands=False)
    assert await read(answer_of(ports, pieces("So", hold=True))) == ("So", ["invalid_api_key", "[DONE]"])
    ports = Ports(view())
    answer = answer_of(ports, pieces("So", hold=True))
    await answer.first_word()
    ports.streams.close()
    assert (await read(answer))[1] == ["dependency_unavailable", "[DONE]"]


async def test_a_silent_stream_is_kept_alive() -> None:
    answer = answer_of(Ports(view()), pieces("So", hold=True))
    stream = answer.written()
    seen = [await anext(stream) for _ in range(3)]
    assert seen[2].startswith(b":")
    await stream.aclose()
    await answer.close()


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_reader_that_goes_away_cancels_only_where_it_said_so(cancel: bool) -> None:
    ports = Ports(view(text="Good day."))
    answer = answer_of(ports, pieces("Good", hold=True), cancel=cancel)
    stream = answer.written()
    await anext(stream)
    await stream.aclose()
    await answer.close()
    assert ports.cancelled == int(cancel)
    ended = answer_of(ports, pieces("Good"), cancel=cancel)
    await read(ended)
    assert ports.cancelled == int(cancel)


def failed(kind: str, status: SlmStatus) -> SlmView:
    return view(status=status, provider=None, error=TurnError(type=kind, detail="It failed."))


@pytest.mark.parametrize("key", [None, "once"])
def test_what_may_have_been_paid_for_is_not_to_be_repeated_without_a_key(key: str | None) -> None:
    call = call_of(Ports(view()), key=key)
    with pytest.raises(ModelOverloaded):
        settled(call, failed("model-overloaded", SlmStatus.FAILED))
    assert "x-should-retry" not in edge_context(call.request).headers
    with pytest.raises(ModelTimedOut):
        settled(call, failed("model-timed-out", SlmStatus.UNKNOWN))
    assert edge_context(call.request).headers.get("x-should-retry") == (None if key else "false")


def test_what_has_no_answer_yet_says_where_it_will_be() -> None:
    call = call_of(Ports(view()))
    with pytest.raises(Forbidden, match="GET /v1/slm/requests/slm_"):
        settled(call, view(status=SlmStatus.AWAITING_APPROVAL, provider=None))
    with pytest.raises(DependencyUnavailable, match="still running"):
        settled(call, running())
    assert settled(call, view()) == view()
