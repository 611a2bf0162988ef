"""Full-text memory on a real Postgres: what shares telling words is found, within the tenant, any query is safe."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.postgres.connection import Pool
from adapters.postgres.memories import PostgresMemory
from domain.memory import MemoryItem

MINE, OTHER = "ses_" + "1" * 32, "ses_" + "2" * 32


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def memory(pool: Pool) -> PostgresMemory:
    return PostgresMemory(pool)


async def keep(memory: PostgresMemory, tenant: str, **texts: str) -> None:
    for key, text in texts.items():
        said = await memory.remember(tenant, MemoryItem(key=key, text=text, session_id=MINE if key.startswith("m") else OTHER))
        assert said.durable


async def keys(memory: PostgresMemory, tenant: str, query: str, limit: int = 5) -> list[str]:
    return [item.key for item in (await memory.recall(tenant, query, MINE, limit)).items]


async def test_items_that_share_words_come_best_first(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, o1="Green tea steeps for two minutes.", o2="Green lamps.", o3="Dogs bark.")
    found = await memory.recall(tenant, "How long does the green tea steep?", MINE, 5)
    assert [item.key for item in found.items] == ["o1", "o2"]
    assert 1 >= found.items[0].score > found.items[1].score > 0
    assert await keys(memory, tenant, "How long does the green tea steep?", 1) == ["o1"]


async def test_the_sessions_own_item_goes_first_among_equals(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, m1="The code is 4711.", o1="The code is 4711.")
    found = await memory.recall(tenant, "Which code?", MINE, 5)
    assert [item.key for item in found.items] == ["m1", "o1"]
    assert found.items[0].score > found.items[1].score


async def test_common_words_alone_recall_nothing(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, m1="What is it that you want to know about the code?")
    for query in ("What is it?", "???", "", "the of and"):
        assert await keys(memory, tenant, query) == []


async def test_inflections_and_accents_are_found(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, m1="Die Lieferung größerer Pakete kostet extra.", m2="Le café est fermé.")
    assert await keys(memory, tenant, "Was kosten Lieferungen?") == ["m1"]
    assert await keys(memory, tenant, "Wann kommt das größere?") == ["m1"]
    assert await keys(memory, tenant, "Où est le CAFÉ ?") == ["m2"]


async def test_the_same_key_overwrites(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, m1="green tea")
    await keep(memory, tenant, m1="black coffee")
    assert await keys(memory, tenant, "green tea") == []
    assert await keys(memory, tenant, "coffee") == ["m1"]


async def test_tenants_never_meet(memory: PostgresMemory, tenant: str) -> None:
    await keep(memory, tenant, m1="green tea")
    await keep(memory, f"{tenant}-o", m1="green tea of another")
    found = await memory.recall(tenant, "green tea", MINE, 5)
    assert [item.text for item in found.items] == ["green tea"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.one_of(st.text(), st.text(st.sampled_from("ab'\\:*|&!()<->% \u00e9\u732b")), st.text(min_size=3000, max_size=4000))
)
async def test_any_query_is_safe(memory: PostgresMemory, query: str) -> None:
    recollection = await memory.recall("t-any", query, MINE, 3)
    assert recollection.items == ()
