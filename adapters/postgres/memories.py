"""Memory without a service: Postgres full text, within one tenant, the session's own items first among equals."""

from __future__ import annotations

import re
from typing import Final

from adapters.postgres.connection import Pool, tenant_transaction
from domain.memory import MemoryItem, Recalled, Recollection, Remembered

_WORD: Final = re.compile(r"\w{2,}")
_MOST_WORDS: Final = 64

# ts_rank_cd with flag 32 is rank / (rank + 1): between 0 and 1, comparable within one answer.
_RECALL = """
SELECT key, content, ts_rank_cd(words, query, 32) AS score
FROM memories, to_tsquery('simple', $2) AS query
WHERE tenant_id = $1 AND words @@ query
ORDER BY ts_rank_cd(words, query, 32) * CASE WHEN session_id = $3 THEN 2 ELSE 1 END DESC, created_at DESC
LIMIT $4
"""


class PostgresMemory:
    """Implements `domain.ports.memory.Memory`. Raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def remember(self, tenant_id: str, item: MemoryItem) -> Remembered:
        """Keeps the item; the same key again overwrites in place."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await connection.execute(
                """
                INSERT INTO memories (tenant_id, key, session_id, content) VALUES ($1, $2, $3, $4)
                ON CONFLICT (tenant_id, key) DO UPDATE SET content = excluded.content
                """,
                tenant_id,
                item.key,
                item.session_id,
                item.text,
            )
        return Remembered(durable=True)

    async def recall(self, tenant_id: str, query: str, session_id: str, limit: int) -> Recollection:
        """The items that share words with the query, best first."""
        words = list(dict.fromkeys(_WORD.findall(query.lower())))[:_MOST_WORDS]
        if not words:
            return Recollection()
        # Words hold letters, digits and underscores alone, so quoting them is enough.
        asked = " | ".join(f"'{word}'" for word in words)
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_RECALL, tenant_id, asked, session_id, limit)
        return Recollection(items=tuple(Recalled(key=row["key"], text=row["content"], score=row["score"]) for row in rows))
