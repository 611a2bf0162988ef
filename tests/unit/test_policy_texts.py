"""Where policies stand in a text, what templates render to, and what the command line makes of files, times and facts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from gate_ports import ENGINE
from hypothesis import given, settings
from hypothesis import strategies as st
from test_policy_layers import BUILTIN, FORBID, PERMIT, question

from adapters.cedar.observed import ObservedEngine, PolicyMetrics
from adapters.cedar.places import line_and_column, sources
from domain.decisions import Verdict
from domain.errors import InvalidRequest
from domain.policy_sets import PolicyLayers
from domain.policy_templates import (
    TEMPLATES,
    DocumentSizeCap,
    EscalateByScore,
    ModelRoleAllowList,
    RegionAllowList,
    TemplateUse,
    render,
    views,
)
from runtime.metrics import new_registry
from workers.cli.policy_questions import begun, cedar_text, facts

POLICY = '@id("a") @reason("a; \\" // b") forbid(principal, action, resource) when { context.region == "x;" };'
GAP = st.sampled_from(["", " ", "\n", "\n\n  ", '// a; " comment\n', "\t"])


@settings(deadline=None)
@given(gaps=st.lists(GAP, min_size=1, max_size=6), tail=st.sampled_from(["", "permit(", "// end"]))
def test_each_policy_is_found_where_it_stands(gaps: list[str], tail: str) -> None:
    text = "".join(gap + POLICY for gap in gaps) + tail
    found = sources(text)
    wanted = [POLICY] * len(gaps) + (["permit("] if tail == "permit(" else [])
    assert [source for _, source in found] == wanted
    assert all(text.startswith(source, offset) for offset, source in found)
    for offset, _ in found:
        line, column = line_and_column(text, offset)
        assert text.split("\n")[line - 1][column - 1 :].startswith(text[offset : offset + 6].split("\n")[0])


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_is_too_strange_to_be_looked_at(text: str) -> None:
    assert sum(len(source) for _, source in sources(text)) <= len(text)
    assert isinstance(ENGINE.check(text), tuple)


def verdict(use: TemplateUse, **changes: Any) -> Verdict:
    return ENGINE.evaluate(PolicyLayers(constitution=BUILTIN, tenant=render((use,))), question(**changes)).verdict


def test_each_template_decides_what_it_says() -> None:
    regions, roles = RegionAllowList(regions=("eu", "local")), ModelRoleAllowList(roles=("summarization",))
    size, by_score = DocumentSizeCap(max_bytes=10), EscalateByScore(score=200)
    assert [verdict(regions, region=region) for region in ("eu", "local", "us", "")] == ["allow", "allow", "deny", "deny"]
    assert [verdict(roles, model_role=role) for role in ("summarization", "asr")] == ["allow", "deny"]
    assert [verdict(size, document_bytes=size_) for size_ in (0, 10, 11)] == ["allow", "allow", "deny"]
    assert [verdict(by_score, score=score) for score in (0, 199, 200, 1000)] == ["allow", "allow", "escalate", "escalate"]
    text = render((regions, roles, size, by_score))
    assert (ENGINE.check(text), ENGINE.count(text)) == ((), 5)
    assert [view.template for view in views()] == [kind.model_fields["template"].default for kind in TEMPLATES]
    # One twice has one id twice.
    assert "2 policies have the id" in ENGINE.check(render((size, size)))[0].message


def test_answers_are_counted_by_layer_and_verdict() -> None:
    registry = new_registry()
    engine = ObservedEngine(ENGINE, PolicyMetrics(registry))
    for tenant in (None, PERMIT, PERMIT + FORBID):
        engine.evaluate(PolicyLayers(constitution=BUILTIN, tenant=tenant), question())

    def counted(layer: str, said: str) -> float | None:
        return registry.get_sample_value("somagent_policy_decisions_total", {"layer": layer, "verdict": said})

    assert [counted("constitution", "allow"), counted("tenant", "allow"), counted("tenant", "deny")] == [3, 1, 1]
    assert registry.get_sample_value("somagent_policy_decision_seconds_count", {"verdict": "deny"}) == 1


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.cedar").write_text("second")
    (tmp_path / "a.cedar").write_text("first")
    (tmp_path / "notes.txt").write_text("no policy")
    assert (cedar_text(tmp_path), cedar_text(tmp_path / "notes.txt")) == ("first\nsecond", "no policy")
    (tmp_path / "c.cedar").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "c.cedar"):
        with pytest.raises(InvalidRequest, match="UTF-8"):
            cedar_text(path)


def test_a_time_may_be_said_as_how_long_ago() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert begun(None, now) is None
    assert [begun(said, now) for said in ("30m", "12h", "7d", "1w", "2026-11-01")] == [
        "2026-11-26T11:30:00+00:00",
        "2026-11-26T00:00:00+00:00",
        "2026-11-19T12:00:00+00:00",
        "2026-11-19T12:00:00+00:00",
        "2026-11-01T00:00:00+00:00",
    ]
    with pytest.raises(InvalidRequest):
        begun("7 days", now)


def test_facts_are_read() -> None:
    assert facts(["score=700", "persona=x", "categories=a,b"]) == {"score": 700, "persona": "x", "categories": ["a", "b"]}
    with pytest.raises(InvalidRequest):
        facts(["score"])
