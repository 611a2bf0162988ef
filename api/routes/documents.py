"""Documents: upload, read, list, delete."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import Field

from api.auth import ServicesDependency, require
from api.edge_types import CleanText, Name
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.kill_switches import require_running
from api.paging import Cursor, Limit
from api.problems import problems
from api.routing import MIB, body_limit, edge_router
from api.short_runs import short_run
from domain.actors import Actor
from domain.base import Contract
from domain.documents import MAX_DOCUMENT_BYTES, DocumentDeletion, DocumentInput, DocumentView
from domain.errors import TooLarge
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim

router = edge_router("documents")


class DocumentBody(Contract):
    """A document as text. HTML is read as a person would read it; scripts and styles are dropped."""

    name: Name = Field(examples=["handbook.md"])
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"
    content: CleanText = Field(
        min_length=1, description="At most 5 MiB in UTF-8.", examples=["The gateway listens on port 8080."]
    )


class DocumentPage(Contract):
    """Documents, newest first."""

    documents: tuple[DocumentView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class DocumentContent(Contract):
    """A document and the text that was read from it."""

    document: DocumentView
    text: str


# JSON writes a line end in two bytes and some characters in six, so the body may be larger than the document.
@router.post(
    "/v1/documents",
    summary="Add a document",
    status_code=201,
    response_model=DocumentView,
    dependencies=[body_limit(8 * MIB)],
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def add_document(
    body: DocumentBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.DOCUMENT_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Stores the bytes, reads their text and records the document."""

    async def work(claim: Claim) -> Answer:
        await require_running(services, actor, Feature.DOCUMENT)
        data = body.content.encode()
        if len(data) > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"A document has at most {MAX_DOCUMENT_BYTES} bytes; split it.", limit_bytes=MAX_DOCUMENT_BYTES)
        original = await services.blobs.put(actor.tenant_id, data, body.media_type)
        document_id = format_id(Prefix.DOCUMENT, claim.resource)
        region = services.settings.region
        name = await services.blobs.put(actor.tenant_id, body.name.encode())
        await short_run(
            services,
            actor,
            WorkflowName.DOCUMENT_ADD,
            Feature.DOCUMENT,
            document_id,
            DocumentInput(document_id=document_id, actor=actor, name=name, original=original, region=region),
            type(None),
        )
        view = await services.documents.get(actor.tenant_id, document_id)
        return Answer(201, view.model_dump(mode="json"), {"Location": f"/v1/documents/{document_id}"})

    return await idempotent(request, services, actor, key, body, work)


@router.get("/v1/documents", summary="List documents", responses=problems(400, 401, 403))
async def list_documents(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.DOCUMENT_READ)],
    after: Cursor = None,
    limit: Limit = 50,
) -> DocumentPage:
    """The tenant's documents, newest first."""
    found = await services.documents.page(actor.tenant_id, after, limit)
    return DocumentPage(documents=found, next=found[-1].document_id if len(found) == limit else None)


@router.get("/v1/documents/{document_id}", summary="Read a document", responses=problems(401, 403, 404))
async def read_document(
    document_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.DOCUMENT_READ)]
) -> DocumentContent:
    """A document and its text."""
    document = await services.documents.get(actor.tenant_id, document_id)
    text = await services.documents.text(actor.tenant_id, document_id)
    return DocumentContent(document=document, text=text.text)


@router.delete(
    "/v1/documents/{document_id}", summary="Delete a document", status_code=204, responses=problems(401, 403, 404, 503)
)
async def delete_document(
    document_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.DOCUMENT_WRITE)]
) -> None:
    """Deletes the document and its bytes. Sessions that named it answer without it from then on."""
    await services.documents.get(actor.tenant_id, document_id)
    await short_run(
        services,
        actor,
        WorkflowName.DOCUMENT_DELETE,
        Feature.DOCUMENT_DELETION,
        document_id,
        DocumentDeletion(document_id=document_id, actor=actor),
        type(None),
    )
