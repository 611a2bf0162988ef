"""From a vendor's refusal to the class of error: the shapes that vendors really send, and nothing of their words."""

from __future__ import annotations

import json

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bounded_http import Answer
from adapters.providers.failures import problem_of, refused, refused_midway
from domain.errors import (
    DomainError,
    ModelBadRequest,
    ModelContentFiltered,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelTimedOut,
    UnsupportedByModel,
)

SECRET = "zebra-7741"


def answer(status: int, body: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, httpx2.Headers(named), json.dumps(body).encode())


def openai(code: str | None, words: str = SECRET, **more: object) -> object:
    return {"error": {"message": words, "type": "invalid_request_error", "code": code, "param": None, **more}}


def anthropic(kind: str, words: str = SECRET, **more: object) -> object:
    return {"type": "error", "error": {"type": kind, "message": words, **more}, "request_id": "r"}


def google(status: str, words: str = SECRET, *details: object) -> object:
    return {"error": {"code": 400, "message": words, "status": status, "details": details}}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, openai("context_length_exceeded"), ModelContextExceeded),
        (400, openai("content_policy_violation"), ModelContentFiltered),
        (400, openai(None), ModelBadRequest),
        (400, openai("unsupported_value", param="temperature"), UnsupportedByModel),
        (400, openai("unsupported_parameter", param="max_tokens"), UnsupportedByModel),
        (429, openai("insufficient_quota"), ModelKeyRefused),
        (429, openai("rate_limit_exceeded", "too many tokens for the context window"), ModelRateLimited),
        # Azure says it within.
        (400, openai("BadRequest", innererror={"code": "ResponsibleAIPolicyViolation"}), ModelContentFiltered),
        # vLLM, before and after it took to OpenAI's envelope; llama.cpp; Ollama.
        (400, {"object": "error", "message": "This model's maximum context length is 8", "code": 400}, ModelContextExceeded),
        (
            400,
            {"error": {"message": "maximum context length is 8", "type": "BadRequestError", "code": 400}},
            ModelContextExceeded,
        ),
        (400, {"error": {"code": 400, "message": "x", "type": "exceed_context_size_error", "n_ctx": 8}}, ModelContextExceeded),
        (404, {"error": "model 'x' not found"}, ModelRefused),
        (400, {"error": f"{SECRET} is wrong"}, ModelBadRequest),
        (422, {"detail": [{"msg": SECRET}]}, ModelBadRequest),
        (400, anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), ModelContextExceeded),
        (400, anthropic("invalid_request_error", f"Your credit balance is too low. {SECRET}"), ModelKeyRefused),
        (429, anthropic("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}), ModelKeyRefused),
        (429, anthropic("rate_limit_error", details={"error_code": "ramp_limit_exceeded"}), ModelRateLimited),
        (413, anthropic("request_too_large"), ModelContextExceeded),
        (529, anthropic("overloaded_error"), ModelOverloaded),
        (400, google("INVALID_ARGUMENT", SECRET, {"reason": "API_KEY_INVALID"}), ModelKeyRefused),
        (400, google("INVALID_ARGUMENT", "The input token count (9) exceeds the maximum"), ModelContextExceeded),
        (400, [google("INVALID_ARGUMENT")], ModelBadRequest),
        (402, {}, ModelKeyRefused),
        (408, {}, ModelTimedOut),
        (409, {}, ModelOverloaded),
        (500, openai(None, "the context window is fine"), ModelOverloaded),
        (504, {}, ModelTimedOut),
        (302, {}, ModelRefused),
        (418, "tea", ModelRefused),
        (599, None, ModelOverloaded),
    ],
)
def test_what_vendors_send_has_its_class(status: int, body: object, error: type[DomainError]) -> None:
    found = refused("house", answer(status, body))
    assert type(found) is error, found
    assert SECRET not in f"{found} {found.members}"


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({}, {"retry_after": "12"}, 12.0),
        ({}, {"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({}, {"retry_after_ms": "soon", "retry_after": "2"}, 2.0),
        ({}, {"retry_after_ms": "-5"}, None),
        (google("RESOURCE_EXHAUSTED", SECRET, {"@type": "x", "retryDelay": "17.5s"}), {}, 17.5),
        (google("RESOURCE_EXHAUSTED", SECRET, {"retryDelay": "9999s"}), {}, 300.0),
        (google("RESOURCE_EXHAUSTED", SECRET, {"retryDelay": "1e9s"}), {}, None),
        ({}, {}, None),
    ],
)
def test_the_pause_a_vendor_names_is_found_wherever_it_stands(
    body: object, headers: dict[str, str], seconds: float | None
) -> None:
    assert refused("house", answer(429, body, **headers)).retry_after == seconds


def test_the_parameter_at_fault_is_told_if_it_is_a_name() -> None:
    assert refused("house", answer(400, openai(None, param="messages[0].content"))).members == {"param": "messages[0].content"}
    assert refused("house", answer(400, openai(None, param=f"the words {SECRET}"))).members == {}


def test_an_error_after_the_first_word_may_be_billed() -> None:
    overloaded = anthropic("overloaded_error")
    assert type(refused_midway("house", overloaded, begun=False)) is ModelOverloaded
    assert type(refused_midway("house", overloaded, begun=True)) is ModelStreamBroken
    assert type(refused_midway("house", {"error": {"message": SECRET}}, begun=False)) is ModelStreamBroken
    assert type(refused_midway("house", google("RESOURCE_EXHAUSTED"), begun=False)) is ModelRateLimited


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("error", "message", "type", "code", "status", "details", "param", "innererror", "retryDelay", "x")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.integers(201, 599), anything)
def test_whatever_a_vendor_sends_is_an_error_of_ours(status: int, body: object) -> None:
    problem_of(body)
    assert isinstance(refused("house", answer(status, body)), DomainError)
    assert isinstance(refused_midway("house", body, begun=False), DomainError)
