"""The benchmark runs, and writes figures and page; how fast anything is, is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from soma_command import ROOT

from benchmarks.results import Report


@pytest.mark.timeout(300)
def test_a_small_run_writes_figures_and_page(tmp_path: Path) -> None:
    sizes = ["--starts", "10", "--runs", "1", "--sessions", "0"]
    written = ["--json", str(tmp_path / "run.json"), "--page", str(tmp_path / "page.md")]
    command = [sys.executable, "-m", "benchmarks.session_start", *sizes, *written]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    report = Report.model_validate_json((tmp_path / "run.json").read_text())
    assert {pair.ours.concurrency for pair in report.pairs} == {1, 50}
    assert all(pair.ours.starts == pair.raw.starts == 10 for pair in report.pairs)
    assert all(pair.ours.cpu_ms_per_start["gateway"] > 0 for pair in report.pairs)
    page = (tmp_path / "page.md").read_text()
    assert "| p50, ms |" in page
    assert report.commit in page
