"""Blobs and documents in a real Postgres: first writer wins, tenants never meet, deleted bytes are gone unless still named."""

from __future__ import annotations

import hashlib
import uuid

import asyncpg
import pytest

from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.connection import Pool, create_pool, tenant_transaction
from adapters.postgres.documents import PostgresDocuments
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.documents import DocumentInput
from domain.errors import DependencyUnavailable, DomainError, NotFound
from domain.names import EventType

_DECISION = "INSERT INTO decisions VALUES ($1, 'dec', 'w', 's', 'r', 'alice', 'allow', $2, '{}', NULL, now())"
_SESSION = """
INSERT INTO sessions (tenant_id, session_id, workflow_id, run_id, subject, client_id, status, decision_id, model_role,
                      created_at, updated_at)
VALUES ($1, 'ses', 'w', 'r', 'alice', 'cli', 'open', 'dec', 'role', now(), now())
"""
_TURN = """
INSERT INTO turns (tenant_id, turn_id, session_id, seq, request_key, client_id, status, message_sha256, used_sha256,
                   reply_sha256, created_at)
VALUES ($1, 'trn', 'ses', 1, 'k', 'cli', 'completed', $2, $3, $4, now())
"""


def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def document_id() -> str:
    return f"doc_{uuid.uuid4().hex}"


def actor(tenant_id: str) -> Actor:
    return Actor(tenant_id=tenant_id, subject="alice", client_id="cli", scopes=("document:write",), jti="j")


class Uploads:
    """Uploads documents as the activity does: bytes, text, row."""

    def __init__(self, pool: Pool, tenant_id: str) -> None:
        self.pool, self.tenant_id = pool, tenant_id
        self.blobs, self.documents = PostgresBlobs(pool), PostgresDocuments(pool)

    async def add(self, data: bytes, text: str, id_: str | None = None, name: str = "a.txt") -> DocumentInput:
        original = await self.blobs.put(self.tenant_id, data, "text/html")
        stored = await self.blobs.put(self.tenant_id, text.encode())
        named = await self.blobs.put(self.tenant_id, name.encode())
        document = DocumentInput(
            document_id=id_ or document_id(), actor=actor(self.tenant_id), name=named, original=original, region="local"
        )
        await self.documents.add(document, stored, len(text))
        return document

    async def holds(self, data: bytes) -> bool:
        try:
            return await self.blobs.get(self.tenant_id, hashlib.sha256(data).hexdigest()) == data
        except NotFound:
            return False

    async def events(self) -> list[tuple[str, str]]:
        async with tenant_transaction(self.pool, self.tenant_id) as connection:
            rows = await connection.fetch("SELECT type, subject FROM outbox ORDER BY xid, seq")
        return [(row["type"], row["subject"]) for row in rows]


@pytest.fixture
def uploads(pool: Pool) -> Uploads:
    return Uploads(pool, tenant())


async def test_a_blob_is_read_back_and_belongs_to_one_tenant(pool: Pool) -> None:
    blobs, mine, other = PostgresBlobs(pool), tenant(), tenant()
    data = b"\x00\xff" * 1_000_000
    ref = await blobs.put(mine, data)
    assert ref == BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=2_000_000)
    assert await blobs.put(mine, data) == ref
    assert await blobs.get(mine, ref.sha256) == data
    with pytest.raises(NotFound):
        await blobs.get(other, ref.sha256)


async def test_a_corrupted_blob_is_refused(pool: Pool) -> None:
    tenant_id = tenant()
    async with tenant_transaction(pool, tenant_id) as connection:
        await connection.execute("INSERT INTO blobs VALUES ($1, $2, 'text/plain', $3)", tenant_id, "0" * 64, b"other bytes")
    with pytest.raises(DomainError, match="digest"):
        await PostgresBlobs(pool).get(tenant_id, "0" * 64)


async def test_a_row_for_another_tenant_cannot_be_written(pool: Pool) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant_transaction(pool, tenant()) as connection:
            await connection.execute("INSERT INTO blobs VALUES ('somebody', $1, 'text/plain', 'x')", "0" * 64)
    with pytest.raises(ValueError, match="slug"):
        tenant_transaction(pool, "x'; DROP TABLE blobs; --")


async def test_a_document_is_added_once_with_one_event(uploads: Uploads) -> None:
    document = await uploads.add(b"<p>original", "original", name="first")
    second = await uploads.blobs.put(uploads.tenant_id, b"second")
    again = await uploads.documents.add(document.model_copy(update={"name": second}), document.original, 1)
    assert (again.name, again.characters, again.bytes, again.media_type) == ("first", 8, 11, "text/html")
    assert again == await uploads.documents.get(uploads.tenant_id, document.document_id)
    text = await uploads.documents.text(uploads.tenant_id, document.document_id)
    assert (text.document_id, text.name, text.text) == (document.document_id, "first", "original")
    assert await uploads.events() == [(EventType.DOCUMENT_ADDED.value, document.document_id)]


async def test_a_document_is_unknown_to_another_tenant(uploads: Uploads) -> None:
    document = await uploads.add(b"a", "a")
    for call in (uploads.documents.get, uploads.documents.text, uploads.documents.delete):
        with pytest.raises(NotFound):
            await call(tenant(), document.document_id)
    assert await uploads.documents.page(tenant(), None, 10) == ()


async def test_a_document_without_its_bytes_is_not_recorded(uploads: Uploads) -> None:
    gone = BlobRef(sha256="1" * 64, size=3)
    document = DocumentInput(document_id=document_id(), actor=actor(uploads.tenant_id), name=gone, original=gone, region="local")
    with pytest.raises(NotFound, match="upload"):
        await uploads.documents.add(document, gone, 3)
    assert await uploads.events() == []


async def test_pages_run_from_the_newest(uploads: Uploads) -> None:
    ids = sorted([(await uploads.add(f"{n}".encode(), f"{n}")).document_id for n in range(5)], reverse=True)
    await uploads.documents.delete(uploads.tenant_id, ids[1])
    ids.pop(1)
    first = await uploads.documents.page(uploads.tenant_id, None, 3)
    rest = await uploads.documents.page(uploads.tenant_id, first[-1].document_id, 3)
    assert [view.document_id for view in (*first, *rest)] == ids


async def test_a_deleted_document_is_gone_with_its_bytes(uploads: Uploads) -> None:
    document = await uploads.add(b"<b>secret", "secret")
    for _ in range(2):
        await uploads.documents.delete(uploads.tenant_id, document.document_id)
    for call in (uploads.documents.get, uploads.documents.text):
        with pytest.raises(NotFound):
            await call(uploads.tenant_id, document.document_id)
    assert not await uploads.holds(b"<b>secret")
    assert not await uploads.holds(b"secret")
    assert [type_ for type_, _ in await uploads.events()] == [EventType.DOCUMENT_ADDED.value, EventType.DOCUMENT_DELETED.value]
    with pytest.raises(NotFound):
        await uploads.documents.delete(uploads.tenant_id, document_id())


async def test_bytes_that_two_documents_name_go_with_the_second(uploads: Uploads) -> None:
    first, second = await uploads.add(b"same", "text"), await uploads.add(b"same", "text")
    # The one stored last is deleted first: its bytes were renewed after the other's row, and still go in the end.
    await uploads.documents.delete(uploads.tenant_id, second.document_id)
    assert await uploads.holds(b"same")
    await uploads.documents.delete(uploads.tenant_id, first.document_id)
    assert not await uploads.holds(b"same")
    assert not await uploads.holds(b"text")


async def test_bytes_somebody_has_just_stored_again_are_spared(uploads: Uploads) -> None:
    document = await uploads.add(b"shared", "other text")
    await uploads.blobs.put(uploads.tenant_id, b"shared")
    await uploads.documents.delete(uploads.tenant_id, document.document_id)
    assert await uploads.holds(b"shared")
    assert not await uploads.holds(b"other text")


@pytest.mark.parametrize("column", ["message_sha256", "used_sha256", "reply_sha256"])
async def test_bytes_a_turn_names_stay(uploads: Uploads, column: str) -> None:
    document = await uploads.add(b"hello", "hello there")
    named = {"message_sha256": "0" * 64, "used_sha256": None, "reply_sha256": None, column: document.original.sha256}
    async with tenant_transaction(uploads.pool, uploads.tenant_id) as connection:
        await connection.execute(_DECISION, uploads.tenant_id, {})
        await connection.execute(_SESSION, uploads.tenant_id)
        await connection.execute(_TURN, uploads.tenant_id, *named.values())
    await uploads.documents.delete(uploads.tenant_id, document.document_id)
    assert await uploads.holds(b"hello")
    assert not await uploads.holds(b"hello there")


async def test_bytes_a_decision_or_an_answer_names_stay(uploads: Uploads) -> None:
    decided, answered = await uploads.add(b"decided", "d"), await uploads.add(b"answered", "a")
    async with tenant_transaction(uploads.pool, uploads.tenant_id) as connection:
        await connection.execute(_DECISION, uploads.tenant_id, {"transformed": {"sha256": decided.original.sha256}})
        await connection.execute(
            "INSERT INTO slm_calls (tenant_id, workflow_id, step_key, attempt, role, provider, model, outcome, answer)"
            " VALUES ($1, 'w', 's', 1, 'r', 'p', 'm', 'completed', $2)",
            uploads.tenant_id,
            {"reply": {"sha256": answered.original.sha256}},
        )
    for document in (decided, answered):
        await uploads.documents.delete(uploads.tenant_id, document.document_id)
    assert await uploads.holds(b"decided")
    assert await uploads.holds(b"answered")
    assert not await uploads.holds(b"d")


async def test_an_unreachable_server_is_a_dependency_unavailable() -> None:
    with pytest.raises(DependencyUnavailable):
        await create_pool("postgresql://nobody@127.0.0.1:1/none?sslmode=disable", 1)
