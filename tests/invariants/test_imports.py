"""Our top-level packages are this tree's, and importing the workflows loads nothing heavy."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from invariants.sources import PACKAGES, ROOT

FORBIDDEN = (
    "asyncpg",
    "redis",
    "httpx2",
    "httpx",
    "requests",
    "fastapi",
    "starlette",
    "uvicorn",
    "cryptography",
    "joserfc",
    "cedarpy",
    "re2",
    "confluent_kafka",
    "hvac",
    "wasmtime",
    "numpy",
    "adapters",
    "workers",
    "api",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_resolves_to_this_tree(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().is_relative_to(ROOT)


def test_importing_the_workflows_loads_no_driver() -> None:
    code = (
        "import json, sys\n"
        "import workflows.sessions, workflows.documents\n"
        f"print(json.dumps(sorted({set(FORBIDDEN)!r} & set(name.split('.')[0] for name in sys.modules))))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert json.loads(printed) == []
