"""The rest of OpenAI's surface that needs no server: errors, embeddings, the names of models."""

from __future__ import annotations

import array
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types import Model as TheirModel
from openai_views import view
from pydantic import BaseModel, ValidationError

from api.openai_surface import errors
from api.openai_surface.chat_models import ChatCompletionBody
from api.openai_surface.embeddings import EmbeddingBody, embedding_input, embedding_list
from api.openai_surface.listing import Named, default_output_tokens, listed, looked_up, named
from api.openai_surface.responses_models import ResponseBody
from api.openai_surface.shapes import Refusing, image_of
from domain.catalogue import Catalogue, ModelConfig, Overrides, ProviderConfig, ProviderKind, RoleConfig
from domain.errors import ERRORS, DomainError, UnknownModel

STATUSES = {
    "invalid-request": (400, "invalid_request_error", None, False),
    "unsupported-by-model": (400, "invalid_request_error", "unsupported_by_model", False),
    "unauthenticated": (401, "invalid_request_error", "invalid_api_key", False),
    "budget-exhausted": (402, "insufficient_quota", "budget_exhausted", False),
    "insufficient-scope": (403, "permission_error", "insufficient_scope", False),
    "denied": (403, "permission_error", "denied", False),
    "unknown-model": (404, "invalid_request_error", "model_not_found", False),
    "request-in-progress": (409, "invalid_request_error", "request_in_progress", True),
    "too-large": (413, "invalid_request_error", "too_large", False),
    "idempotency-key-reused": (422, "invalid_request_error", "idempotency_key_reused", False),
    "too-many-requests": (429, "requests", "rate_limit_exceeded", True),
    "model-context-exceeded": (400, "invalid_request_error", "context_length_exceeded", False),
    "model-content-filtered": (400, "invalid_request_error", "content_filter", False),
    "model-bad-request": (400, "invalid_request_error", "model_bad_request", False),
    "model-key-refused": (502, "server_error", "model_key_refused", False),
    "model-rate-limited": (503, "server_error", "model_rate_limited", True),
    "dependency-unavailable": (503, "server_error", "dependency_unavailable", True),
    "internal-error": (500, "server_error", "internal_error", False),
}


@pytest.mark.parametrize("kind", STATUSES)
def test_errors_have_the_status_and_words_that_clients_look_for(kind: str) -> None:
    status, type_, code, again = STATUSES[kind]
    error = ERRORS[kind]("What is wrong.")
    told = errors.envelope(error).error
    assert (errors.status_of(error), told.type, told.code) == (status, type_, code)
    assert told.message == "What is wrong."
    headers = errors.headers_of(error, 3)
    assert headers == ({"x-should-retry": "true", "Retry-After": "3"} if again else {"x-should-retry": "false"})


@pytest.mark.parametrize("kind", ERRORS)
def test_no_error_is_without_words(kind: str) -> None:
    error: DomainError = ERRORS[kind]("What is wrong.", retry_after=1.2)
    assert 400 <= errors.status_of(error) < 600
    assert errors.headers_of(error, 1)["Retry-After"] == "2"
    assert set(errors.envelope(error).model_dump()["error"]) == {"message", "type", "param", "code"}


def test_a_denial_says_why() -> None:
    reasons = [{"checker": "moderation", "code": "c", "message": "It asks for harm."}, {"checker": "policy", "code": "d"}]
    assert errors.envelope(ERRORS["denied"]("See.", reasons=reasons)).error.message == "The gate refused this: It asks for harm."
    assert errors.envelope(ERRORS["denied"]("See.", reasons=[])).error.message == "See."


def test_the_place_of_a_fault_comes_from_any_of_our_errors() -> None:
    def param(**members: Any) -> str | None:
        return errors.envelope(ERRORS["invalid-request"]("x", **members)).error.param

    assert param(errors=[{"pointer": "#/messages/0/content/1/a~1b"}]) == "messages[0].content[1].a/b"
    assert param(errors=[{"parameter": "header.Idempotency-Key"}]) == "header.Idempotency-Key"
    assert param(errors=[{"pointer": "#"}]) is None
    assert param(param="n") == "n"
    assert param() is None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/models/a/b", "/v1/responses/x", "/v1/embeddings"])
def test_these_paths_speak_openai(path: str) -> None:
    assert errors.speaks_openai(path)


@pytest.mark.parametrize("path", ["/v1/chat", "/v1/modelsx", "/v1/slm/requests", "/v1/sessions/v1/models", "/"])
def test_other_paths_do_not(path: str) -> None:
    assert not errors.speaks_openai(path)


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("model", "body", "param", "words"),
    [
        (ChatCompletionBody, {"messages": [USER]}, "model", "Missing required parameter: model."),
        (ChatCompletionBody, {"model": "m"}, "messages", "Missing required parameter: messages."),
        (ChatCompletionBody, {"model": "m", "messages": [USER], "top_k": 1}, "top_k", "Unrecognized request argument"),
        (ChatCompletionBody, {"model": "m", "messages": [USER], "n": 2}, "n", "Only n=1 is served"),
        (ChatCompletionBody, {"model": "m", "messages": [{"role": "user"}]}, "messages[0].content", "Missing required"),
        (ChatCompletionBody, {"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0]", "'developer'"),
        (ChatCompletionBody, {"model": "m", "messages": [{"content": "x"}]}, "messages[0]", "role"),
        (
            ChatCompletionBody,
            {"model": "m", "messages": [USER, {"role": "user", "content": [{"type": "text"}]}]},
            "messages[1].content[0].text",
            "Missing required",
        ),
        (
            ChatCompletionBody,
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]},
            "messages[0].content[0].image_url.url",
            "not fetched",
        ),
        (
            ChatCompletionBody,
            {"model": "m", "messages": [USER], "tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
            "pattern",
        ),
        (ResponseBody, {"model": "m", "input": [{"type": "message", "role": "user"}]}, "input[0].content", "Missing required"),
        (ResponseBody, {"model": "m", "input": "x", "previous_response_id": "r"}, "previous_response_id", "whole conversation"),
        (ResponseBody, {"model": "m", "input": "x", "tools": [{"type": "web_search"}]}, "tools[0].type", "'function'"),
        (EmbeddingBody, {"model": "m", "input": [1, 2, 3]}, "input[0]", "valid string"),
        (EmbeddingBody, {"model": "m", "input": ""}, "input", "at least 1"),
    ],
)
def test_a_fault_is_named_by_its_place_in_the_body(model: Any, body: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    faults = [fault | {"loc": ("body", *fault["loc"])} for fault in caught.value.errors()]
    error = errors.validation_error(RequestValidationError(faults, body=body))
    assert (error.status, error.members["param"]) == (400, param)
    assert words in error.detail


def test_a_fault_outside_the_body_is_named_by_its_place() -> None:
    fault = {"type": "string_pattern_mismatch", "loc": ("header", "Idempotency-Key"), "msg": "String should match"}
    error = errors.validation_error(RequestValidationError([fault], body=None))
    assert error.members["param"] == "header.Idempotency-Key"


def embedded(**sent: Any) -> Any:
    body = EmbeddingBody.model_validate({"model": "m", "input": ["a", "b"]} | sent)
    return embedding_list(view(vectors=((0.5, -1.25), (1e300, 3.0))), body)


def test_vectors_are_numbers_or_base64() -> None:
    theirs = CreateEmbeddingResponse.model_validate(embedded().model_dump(mode="json"))
    assert [(item.index, item.embedding) for item in theirs.data] == [(0, [0.5, -1.25]), (1, [1e300, 3.0])]
    assert theirs.usage.prompt_tokens == 7
    coded = embedded(encoding_format="base64").data
    assert array.array("f", base64.b64decode(coded[0].embedding)).tolist() == [0.5, -1.25]
    assert array.array("f", base64.b64decode(coded[1].embedding))[1] == 3.0


def test_one_text_or_many_are_embedded() -> None:
    assert embedding_input(EmbeddingBody.model_validate({"model": "m", "input": "a"})).texts == ("a",)
    asked = embedding_input(EmbeddingBody.model_validate({"model": "m", "input": ["a", "b"], "dimensions": 4, "user": "u"}))
    assert (asked.texts, asked.dimensions) == (("a", "b"), 4)


CATALOGUE = Catalogue(
    providers={name: ProviderConfig(kind=ProviderKind.OPENAI) for name in ("acme", "other")},
    models=(
        ModelConfig(provider="acme", name="large", max_output_tokens=50),
        ModelConfig(provider="acme", name="shared"),
        ModelConfig(provider="other", name="shared"),
        ModelConfig(provider="other", name="org/small"),
    ),
    roles={"chat": RoleConfig(models=("acme/large",), max_output_tokens=200), "large": RoleConfig(models=("acme/shared",))},
    tenants={"demo": Overrides(roles={"secret": RoleConfig(models=("acme/large", "other/shared"))})},
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("acme/large", Named("chat", "acme/large")),
        ("other/org/small", Named("chat", "other/org/small")),
        ("org/small", Named("chat", "other/org/small")),
        ("secret", Named("secret")),
        ("large", Named("large")),
    ],
)
def test_a_name_is_a_model_a_role_or_what_only_one_provider_has(name: str, meant: Named) -> None:
    assert named(CATALOGUE, "demo", "production", name, "chat") == meant
    assert looked_up(CATALOGUE, "demo", "production", name).id == (meant.model or meant.role)


@pytest.mark.parametrize(
    ("name", "told"), [("nobody", "GET /v1/models"), ("shared", "acme/shared, other/shared"), ("acme/x", "GET")]
)
def test_a_name_of_nothing_or_of_several_is_refused(name: str, told: str) -> None:
    with pytest.raises(UnknownModel, match=told):
        named(CATALOGUE, "demo", "production", name, "chat")


def test_another_tenants_roles_are_unknown() -> None:
    with pytest.raises(UnknownModel):
        named(CATALOGUE, "acme", "production", "secret", "chat")
    assert "secret" not in json.dumps(listed(CATALOGUE, "acme", "production").model_dump(mode="json"))


def test_every_listed_name_is_one_to_send() -> None:
    found = listed(CATALOGUE, "demo", "production")
    assert [model.id for model in found.data] == [
        "chat",
        "large",
        "secret",
        "acme/large",
        "acme/shared",
        "other/shared",
        "other/org/small",
    ]
    for model in found.data:
        TheirModel.model_validate(model.model_dump(mode="json"))
        assert looked_up(CATALOGUE, "demo", "production", model.id) == model
    assert found.data[2].models == ("acme/large", "other/shared")


def test_the_output_limit_is_the_roles_and_within_the_models() -> None:
    assert default_output_tokens(CATALOGUE, "demo", "production", Named("chat")) == 200
    assert default_output_tokens(CATALOGUE, "demo", "production", Named("chat", "acme/large")) == 50
    assert default_output_tokens(CATALOGUE, "demo", "production", Named("chat", "acme/shared")) == 200


@pytest.mark.parametrize("model", [ChatCompletionBody, ResponseBody, EmbeddingBody])
def test_the_page_names_what_is_ignored_and_refused(model: type[BaseModel]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "openai.md").read_text()
    ignored, refused = page.split("\nIgnored, since")[1].split("\nRefused unless")
    for name, field in model.model_fields.items():
        told = str(field.description or "")
        if told == "Accepted and ignored.":
            assert f"`{name}`" in ignored, name
        if any(isinstance(mark, Refusing) for mark in field.metadata):
            assert f"`{name}`" in refused, name


@given(st.text(max_size=60))
def test_any_url_is_an_image_by_value_or_refused(url: str) -> None:
    try:
        image = image_of(url)
    except ValueError:
        return
    assert url == f"data:{image.media_type};base64,{image.data}"
