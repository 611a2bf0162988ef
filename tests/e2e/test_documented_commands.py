"""Every shell block of README and quickstart runs, in order, in a fresh copy of the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from soma_command import ROOT, Soma

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ("README.md", "docs/quickstart.md")


def blocks(page: str) -> list[str]:
    """The shell blocks of a page."""
    return BLOCK.findall((ROOT / page).read_text())


def fresh_copy(target: Path) -> Path:
    """The files git knows or would add, as a clone would have them: no environment, no data."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


@pytest.mark.timeout(900)
def test_the_shell_blocks_of_readme_and_quickstart_run(tmp_path: Path) -> None:
    clone = fresh_copy(tmp_path / "clone")
    # Ports that no other test uses; a user's are the defaults.
    ports = Soma(tmp_path / "ports").ports
    (clone / ".soma" / "run").mkdir(parents=True)
    (clone / ".soma" / "run" / "ports.json").write_text(json.dumps(ports))
    keep = ("PATH", "HOME", "LANG", "TERM", "PYENV_ROOT", "PIP_CERT", "PIP_FIND_LINKS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    environment = {name: value for name, value in os.environ.items() if name in keep or name.startswith(("PIP_", "HTTP"))}
    try:
        for page in PAGES:
            script = "set -euo pipefail\n" + "\n".join(blocks(page))
            done = subprocess.run(
                ["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True, timeout=600, check=False
            )
            assert done.returncode == 0, f"{page}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    finally:
        soma = clone / ".venv" / "bin" / "soma"
        if soma.exists():
            subprocess.run([str(soma), "down"], cwd=clone, env=environment, capture_output=True, timeout=120, check=False)


def test_both_pages_have_blocks_to_run() -> None:
    assert all(len(blocks(page)) >= 2 for page in PAGES)
