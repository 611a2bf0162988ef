"""The OpenAPI 3.1 document: what FastAPI derives, plus the problems that the edge answers with on its own."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.openai_surface.errors import OpenAIErrorEnvelope, speaks_openai
from api.problems import Problem, problems

DESCRIPTION: Final = """\
SomaGent runs AI agents as durable workflows. Writes start or update a workflow and carry an `Idempotency-Key`; reads are
projections and may be repeated at will. Errors are problem documents (RFC 9457) whose `type` leads to its description."""

TAGS: Final[list[dict[str, str]]] = [
    {"name": "sessions", "description": "Conversations with an agent, behind moderation and policy."},
    {"name": "documents", "description": "Texts that sessions answer about."},
    {"name": "models", "description": "Model calls: queued, answered at once, forecast; what they used and who pays."},
    {"name": "budgets", "description": "Caps on what model calls may use, and the ledger of what they used."},
    {"name": "decisions", "description": "What the gate decided, and the approval of what it escalated."},
    {"name": "governance", "description": "Kill switches: stop at once, and prove that it is quiet."},
    {"name": "policies", "description": "A tenant's own policies; policies asked without effect, and decisions asked again."},
    {"name": "openai", "description": "OpenAI's paths, for clients that speak its protocol; errors have its envelope."},
    {"name": "events", "description": "What happened, in commit order; a page or a stream."},
    {"name": "identity", "description": "Access tokens, keys and metadata."},
    {"name": "codec", "description": "Decoding of workflow payloads, for operators."},
    {"name": "health", "description": "Whether this gateway lives and may be sent requests."},
    {"name": "problems", "description": "What each type of error means."},
]
_METHODS: Final = ("get", "put", "post", "delete", "patch")


def document(app: FastAPI) -> dict[str, Any]:
    """The document as a value; made once per application."""
    if app.openapi_schema is None:
        app.openapi_schema = _build(app)
    return app.openapi_schema


def render(app: FastAPI) -> str:
    """The document as it is committed: indented, keys in the order of the code, one newline at the end."""
    return json.dumps(document(app), indent=2, ensure_ascii=False) + "\n"


def _build(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This gateway"}],
    )
    schemas: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    # Each type adds members of its own.
    schemas["Problem"] = problem | {"additionalProperties": True}
    for path, item in schema["paths"].items():
        for method in _METHODS:
            if method in item:
                _add_problems(path, item[method])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return schema


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    """The statuses every operation of this kind may answer with."""
    responses: dict[str, Any] = operation["responses"]
    for parameter in operation.get("parameters", []):
        parameter["schema"] = _never_null(parameter["schema"])
    validation = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if validation.get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]
    parameters: list[dict[str, Any]] = operation.get("parameters", [])
    statuses = {500}
    if operation.get("security"):
        statuses |= {401, 403, 429, 503}
    if "requestBody" in operation:
        statuses |= {400, 413, 415}
    if parameters:
        statuses.add(400)
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses.add(404)
    if any(parameter["name"] == "Idempotency-Key" for parameter in parameters):
        statuses |= {409, 422}
    described = _openai_errors if speaks_openai(path) else problems
    for status, response in described(*sorted(statuses)).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))


def _openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{OpenAIErrorEnvelope.__name__}"}
    return {status: {"description": "Error", "content": {"application/json": {"schema": schema}}} for status in statuses}


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not sent is absent; neither a query nor a header can say null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return choices[0] | {name: value for name, value in schema.items() if name != "anyOf"}
