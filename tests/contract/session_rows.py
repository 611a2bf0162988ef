"""Rows of a session and its turns, put straight into Postgres, for tests of what reads them."""

from __future__ import annotations

import uuid

from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.connection import Pool, tenant_transaction
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.documents import DocumentInput

_DECISION = "INSERT INTO decisions VALUES ($1, $2, 'w', $2, 'r', 'alice', 'allow', '{}', '{}', NULL, now())"
_SESSION = """
INSERT INTO sessions (tenant_id, session_id, workflow_id, run_id, subject, client_id, status, decision_id, model_role,
                      created_at, updated_at)
VALUES ($1, $2, 'w', 'r', 'alice', 'cli', 'open', $3, 'role', now(), now())
"""
_TURN = """
INSERT INTO turns (tenant_id, turn_id, session_id, seq, request_key, client_id, status, message_sha256, reply_sha256, created_at)
VALUES ($1, $2, $3, $4, $2, 'cli', $5, $6, $7, now())
"""


class SessionRows:
    """One session of a fresh tenant."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.blobs = PostgresBlobs(pool)
        self.tenant = f"t-{uuid.uuid4().hex[:12]}"
        self.session = f"ses_{uuid.uuid4().hex}"
        self.actor = Actor(tenant_id=self.tenant, subject="alice", client_id="cli", scopes=("session:send",), jti="j")
        self._turns = 0

    async def open(self) -> None:
        decision = f"dec_{uuid.uuid4().hex}"
        async with tenant_transaction(self.pool, self.tenant) as connection:
            await connection.execute(_DECISION, self.tenant, decision)
            await connection.execute(_SESSION, self.tenant, self.session, decision)

    async def turn(self, message: str, reply: str | None = None) -> tuple[str, BlobRef]:
        """A turn, answered when there is a reply, else running: its id and its message."""
        self._turns += 1
        turn, said = f"trn_{uuid.uuid4().hex}", await self.blobs.put(self.tenant, message.encode())
        answered = (await self.blobs.put(self.tenant, reply.encode())).sha256 if reply is not None else None
        status = "running" if reply is None else "completed"
        async with tenant_transaction(self.pool, self.tenant) as connection:
            await connection.execute(_TURN, self.tenant, turn, self.session, self._turns, status, said.sha256, answered)
        return turn, said

    async def upload(self, data: bytes, media_type: str = "text/plain", name: str = "notes.txt") -> DocumentInput:
        """An upload before its text is read."""
        original = await self.blobs.put(self.tenant, data, media_type)
        named = await self.blobs.put(self.tenant, name.encode())
        return DocumentInput(
            document_id=f"doc_{uuid.uuid4().hex}",
            actor=self.actor,
            name=named,
            original=original,
            region="local",
        )

    async def events(self, topic: str) -> list[dict[str, object]]:
        """The data of the tenant's events on a topic, in order."""
        async with tenant_transaction(self.pool, self.tenant) as connection:
            rows = await connection.fetch("SELECT data FROM outbox WHERE topic = $1 ORDER BY xid, seq", topic)
        return [row["data"] for row in rows]
