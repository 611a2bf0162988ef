"""SIGKILL of every process, again and again, while clients talk: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import sys

import pytest
from chaos import drill


@pytest.mark.drill
@pytest.mark.timeout(1500)
async def test_nothing_acknowledged_is_lost_or_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    seed, size = drill.seed(), drill.size()
    with capsys.disabled():
        sys.stdout.write(f"\nchaos seed {seed} (repeat with CHAOS_SEED={seed})\n")
        sys.stdout.flush()
        verdict = await drill.run(size, seed)
        sys.stdout.write(f"{verdict.table}\n")

    assert verdict.lost == {}
    assert verdict.doubled == {}
    assert verdict.faults == []
    for row in verdict.rows:
        assert row.kills >= size.kills, row
        assert row.inside * 2 >= row.kills, row
        assert row.turns, row
