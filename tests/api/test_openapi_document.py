"""The OpenAPI document: valid, whole, and true about what the edge answers on its own."""

from __future__ import annotations

from typing import Any

import httpx2
import jsonschema
import pytest
from gateway_under_test import Gateway

from api.openai_surface.errors import speaks_openai
from api.openapi import document, render
from api.problems import MEDIA_TYPE
from domain.names import Scope
from runtime.version import VERSION

OAUTH = ("/v1/oauth/token", "/v1/oauth/revoke")
"""Their errors are those of RFC 6749."""
REPEATABLE = {
    "/v1/oauth/token",
    "/v1/oauth/revoke",
    "/v1/codec/decode",
    "/v1/sessions/{session_id}/cancel",
    "/v1/sessions/{session_id}/close",
    "/v1/api-keys/{key_id}/revoke",
    "/v1/kill-switches/{switch_id}/release",
    "/v1/decisions/{decision_id}/approve",
    "/v1/decisions/{decision_id}/refuse",
    "/v1/policy/evaluate",
    "/v1/policy-sets/validate",
    "/v1/policy/replays/{replay_id}/cancel",
    "/v1/slm/requests/{request_id}/cancel",
    "/v1/slm/requests/{request_id}/resume",
    "/v1/slm/forecast",
}
"""Writes that may be repeated without a key: they change nothing, or the second time finds it done."""

Operations = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def schema(gateway: Gateway) -> dict[str, Any]:
    return document(gateway.app)


@pytest.fixture(scope="module")
def operations(schema: dict[str, Any]) -> Operations:
    return {
        (method, path): operation
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if not path.startswith("/test/")
    }


async def test_it_is_served_as_it_is_rendered(gateway: Gateway, http: httpx2.AsyncClient, schema: dict[str, Any]) -> None:
    assert (await http.get("/openapi.json")).json() == schema
    assert render(gateway.app).endswith("}\n")
    assert (schema["openapi"], schema["info"]["version"]) == ("3.1.0", VERSION)


def test_every_operation_says_what_it_is_and_who_may(operations: Operations, schema: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in schema["tags"]}
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(ids) == len(set(ids))
    scopes = schema["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["scopes"]
    assert set(scopes) == set(Scope)
    assert all(scopes.values())
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        for requirement in operation.get("security", []):
            assert set(requirement["oauth2"]) <= set(scopes), name


def test_every_operation_lists_the_problems_of_the_edge(operations: Operations) -> None:
    for name, operation in operations.items():
        expected = {"500"}
        expected |= {"401", "403", "429", "503"} if "security" in operation else set()
        expected |= {"400", "413", "415"} if "requestBody" in operation and name[1] not in OAUTH else set()
        assert expected <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            if int(status) >= 400 and name[1] not in (*OAUTH, "/readyz"):
                shape = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
                if speaks_openai(name[1]):
                    shape = {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIErrorEnvelope"}}}
                assert response["content"] == shape, (name, status)


def test_writes_carry_an_idempotency_key(operations: Operations) -> None:
    for (method, path), operation in operations.items():
        keys = [parameter for parameter in operation.get("parameters", []) if parameter["name"] == "Idempotency-Key"]
        if keys:
            # OpenAI's clients send none by themselves.
            assert keys[0]["required"] is not speaks_openai(path)
            assert {"409", "422"} <= set(operation["responses"]), path
        elif method == "post":
            assert path in REPEATABLE


def test_references_lead_somewhere_and_examples_hold(schema: dict[str, Any]) -> None:
    schemas = schema["components"]["schemas"]
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
    validator = jsonschema.Draft202012Validator

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                assert value["$ref"].removeprefix("#/components/schemas/") in schemas
            for item in value.values():
                walk(item)

    walk(schema["paths"])
    walk(schemas)
    for name, found in schemas.items():
        validator.check_schema(found)
        for property_name, inner in found.get("properties", {}).items():
            for example in inner.get("examples", []):
                rooted = inner | {"components": schema["components"]}
                validator(rooted).validate(example), (name, property_name)
