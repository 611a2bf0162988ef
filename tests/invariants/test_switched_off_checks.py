"""Each check that is switched off stands in one list with its reason, and the list only gets shorter."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

from invariants.sources import PACKAGES, ROOT, files

LIST = Path(__file__).parent / "switched_off_checks.toml"
SWITCH = re.compile(
    r"#\s*(noqa(?::\s*[A-Z]+\d+)?|type:\s*ignore(?:\[[^\]]*\])?|pyright:\s*ignore(?:\[[^\]]*\])?|pragma:\s*no\s*(?:cover|branch))"
    r"|(pytest\.skip|pytest\.mark\.skip|pytest\.mark\.skipif|pytest\.mark\.xfail|pytest\.xfail)\b"
)


def found() -> Counter[tuple[str, str]]:
    """Every switch in the code, by file."""
    switches: Counter[tuple[str, str]] = Counter()
    for path in files(*PACKAGES, "tests", "benchmarks"):
        if path == Path(__file__):
            continue
        for match in SWITCH.finditer(path.read_text()):
            switches[str(path.relative_to(ROOT)), match[1] or match[2]] += 1
    return switches


def listed() -> Counter[tuple[str, str]]:
    """Every switch in the list."""
    return Counter({(check["file"], check["what"]): check["count"] for check in tomllib.loads(LIST.read_text())["check"]})


def test_every_switched_off_check_is_listed() -> None:
    assert found() == listed(), "Switch the check on again; if that cannot be, list it in switched_off_checks.toml."


def test_each_has_a_reason_and_the_count_holds() -> None:
    content = tomllib.loads(LIST.read_text())
    assert all(len(check["reason"]) > 20 for check in content["check"])
    assert listed().total() == content["most"]
