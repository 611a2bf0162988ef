"""The benchmarks run, and write figures and page; how fast anything is, is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from soma_command import ROOT

from benchmarks.policy_results import PolicyReport
from benchmarks.results import Report
from benchmarks.slm_results import SlmReport


def _run(name: str, directory: Path, *sizes: str) -> tuple[str, str]:
    """The figures and the page it wrote."""
    written = ["--json", str(directory / "run.json"), "--page", str(directory / "page.md")]
    command = [sys.executable, "-m", f"benchmarks.{name}", *sizes, *written]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return (directory / "run.json").read_text(), (directory / "page.md").read_text()


@pytest.mark.timeout(300)
def test_a_small_run_writes_figures_and_page(tmp_path: Path) -> None:
    figures, page = _run("session_start", tmp_path, "--starts", "10", "--runs", "1", "--sessions", "0")

    report = Report.model_validate_json(figures)
    assert {pair.ours.concurrency for pair in report.pairs} == {1, 50}
    assert all(pair.ours.starts == pair.raw.starts == 10 for pair in report.pairs)
    assert all(pair.ours.cpu_ms_per_start["gateway"] > 0 for pair in report.pairs)
    assert "| p50, ms |" in page
    assert report.commit in page


@pytest.mark.timeout(300)
def test_a_small_run_of_model_calls_measures_every_part(tmp_path: Path) -> None:
    sizes = ["--calls", "3", "--runs", "1", "--backlog", "8", "--interactive", "2"]
    figures, page = _run("slm", tmp_path, *sizes, "--fairness-seconds", "0.3", "--ledger-seconds", "0.2")

    report = SlmReport.model_validate_json(figures)
    [overhead] = report.overheads
    assert report.vendor_seconds * 1000 < overhead.first_text.p50_ms
    assert report.vendor_seconds * 1000 < overhead.ours.p50_ms
    assert report.lanes is not None
    assert report.lanes.queued == report.lanes.waiting[0] == 8
    assert report.fairness is not None
    for shares in (report.fairness.by_cost, report.fairness.by_task):
        assert shares.seconds >= 0.3
        assert shares.large.words == 50 * shares.small.words
    assert report.ledger is not None
    assert report.ledger.apart.one_budget.others
    assert report.ledger.together.one_budget.crowd
    for heading in ("Overhead of a call", "Lanes", "Fair shares", "Ledger"):
        assert f"### {heading}\n" in page
    # The other benchmark's section, of the figures it left.
    assert "## Session starts\n" in page


@pytest.mark.timeout(120)
def test_a_small_run_of_policy_decisions_compares_with_plain_calls(tmp_path: Path) -> None:
    figures, page = _run("policy", tmp_path, "--calls", "3", "--runs", "2")

    report = PolicyReport.model_validate_json(figures)
    assert (report.policies, report.calls) == (200, 6)
    assert [each.name.split(",")[0] for each in report.times] == ["plain call", "plain call", "ours", "ours", "ours"]
    assert all(0 < each.p50_ms <= each.p95_ms for each in report.times)
    assert "## Policy decisions\n" in page
    assert "| plain call, 20 entities |" in page
