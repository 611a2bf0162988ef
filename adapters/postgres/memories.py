"""Memory without a service: Postgres full text, within one tenant, the session's own items first among equals.

The configuration `simple` knows no language, so the words a question is made of are cut to stems here and matched as beginnings.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.connection import Pool, tenant_transaction
from domain.memory import MemoryItem, Recalled, Recollection, Remembered
from domain.terms import telling_words, terms_of

_MOST_WORDS: Final = 64
_LONGEST_WORD: Final = 64
_SHORTEST_BEGINNING: Final = 4
_LONG_ENOUGH_TO_CUT: Final = 7

_REMEMBER = """
INSERT INTO memories (tenant_id, key, session_id, content) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, key) DO UPDATE SET content = excluded.content
"""

# ts_rank with flag 32 is rank / (rank + 1): between 0 and 1, comparable within one answer.
_RECALL = """
SELECT key, content, ts_rank(words, query, 32) * CASE WHEN session_id = $3 THEN 1 ELSE 0.7 END AS score
FROM memories, to_tsquery('simple', $2) AS query
WHERE tenant_id = $1 AND words @@ query
ORDER BY score DESC, created_at DESC, key
LIMIT $4
"""


def _beginning(word: str) -> str:
    """What a word's inflections begin with: its stem, or most of a word whose accents a stem would lose."""
    if word.isascii():
        return terms_of(word)[0]
    return word[:-2] if len(word) >= _LONG_ENOUGH_TO_CUT else word


def _asked(query: str) -> str:
    """A tsquery that any of the telling words fulfils. They hold letters and digits alone, so quoting them is enough."""
    words = [word for word in telling_words(query) if len(word) <= _LONGEST_WORD][:_MOST_WORDS]
    beginnings = dict.fromkeys(map(_beginning, words))
    return " | ".join(f"'{word}':*" if len(word) >= _SHORTEST_BEGINNING else f"'{word}'" for word in beginnings)


class PostgresMemory:
    """Implements `domain.ports.memory.Memory`. Raises DependencyUnavailable when Postgres is down."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def remember(self, tenant_id: str, item: MemoryItem) -> Remembered:
        """Keeps the item; the same key again overwrites in place."""
        async with tenant_transaction(self._pool, tenant_id) as connection:
            await connection.execute(_REMEMBER, tenant_id, item.key, item.session_id, item.text)
        return Remembered(durable=True)

    async def recall(self, tenant_id: str, query: str, session_id: str, limit: int) -> Recollection:
        """The items that share telling words with the query, best first; none when it has no telling word."""
        asked = _asked(query)
        if not asked:
            return Recollection()
        async with tenant_transaction(self._pool, tenant_id) as connection:
            rows = await connection.fetch(_RECALL, tenant_id, asked, session_id, limit)
        return Recollection(items=tuple(Recalled(key=row["key"], text=row["content"], score=row["score"]) for row in rows))
