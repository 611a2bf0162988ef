"""requirements/*.txt are what pyproject.toml compiles to, as far as that can be known without a registry.

Every pin stands where it belongs, every artefact has a hash, and what the installed libraries ask for is pinned too. That
the rest of the closure is the newest resolution only `make requirements` can say.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from importlib.metadata import distribution
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from sources import ROOT

FOLDER = ROOT / "requirements"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
CORE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]

PINS = {
    "core": CORE,
    # Tests run on the embedded stack.
    "dev": [*CORE, *EXTRAS["embedded"], *EXTRAS["dev"]],
    "build": PROJECT["dependency-groups"]["build"],
    **{name: [*CORE, *pins] for name, pins in EXTRAS.items() if name != "dev"},
}
"""The pins each file holds, by its name."""

ARTEFACT = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def blocks(text: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a file, and the options that follow it. Options of the file itself are another test's."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line and line[0] not in "#-"]
    parts = [[part.strip() for part in line.split(" --")] for line in lines]
    return [(Requirement(head), [f"--{option}" for option in options]) for head, *options in parts]


@pytest.fixture(scope="module")
def files() -> dict[str, list[tuple[Requirement, list[str]]]]:
    return {path.stem: blocks(path.read_text()) for path in sorted(FOLDER.glob("*.txt"))}


def pinned(requirement: Requirement) -> Version:
    """The one version it allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", requirement
    return Version(specifier.version)


def test_there_is_a_file_for_each_extra(files: dict[str, Any]) -> None:
    assert set(files) == set(PINS)


@pytest.mark.parametrize("name", sorted(PINS))
def test_every_pin_stands_in_its_file(files: dict[str, Any], name: str) -> None:
    found = {(canonicalize_name(entry.name), pinned(entry), str(entry.marker or "")) for entry, _ in files[name]}
    wanted = [Requirement(pin) for pin in PINS[name]]
    missing = [str(pin) for pin in wanted if (canonicalize_name(pin.name), pinned(pin), str(pin.marker or "")) not in found]
    assert not missing, f"requirements/{name}.txt is out of date: run `make requirements`"


@pytest.mark.parametrize("name", sorted(PINS))
def test_every_artefact_has_its_hash_and_none_an_address(files: dict[str, Any], name: str) -> None:
    for entry, options in files[name]:
        assert entry.url is None, f"{entry.name} comes from an address"
        assert pinned(entry)
        assert options, f"{entry} has no hash"
        assert [option for option in options if not ARTEFACT.fullmatch(option)] == [], entry
    text = (FOLDER / f"{name}.txt").read_text()
    assert re.findall(r"\S*://\S*|^-.*|--(?!hash=)\S*", text, re.MULTILINE) == [], "an address, or an option that may name one"


def test_no_library_has_two_versions_in_one_environment(files: dict[str, Any]) -> None:
    """Extras are installed beside each other, so the files are cut from one resolution."""
    versions: dict[tuple[str, str], set[Version]] = defaultdict(set)
    for entries in files.values():
        for entry, _ in entries:
            versions[canonicalize_name(entry.name), str(entry.marker or "")].add(pinned(entry))
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_what_the_installed_libraries_ask_for_is_pinned(files: dict[str, Any]) -> None:
    """The closure: nothing would be left for an installer to choose."""
    here = {canonicalize_name(entry.name): pinned(entry) for entry, _ in files["dev"] if _applies(entry, "")}
    asked = [(Requirement(pin), "pyproject.toml") for pin in PINS["dev"]]
    seen: set[tuple[str, str]] = set()
    while asked:
        requirement, origin = asked.pop()
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(here[name], prereleases=True), f"{origin} asks for {requirement}"
        for extra in {"", *requirement.extras} - {extra for other, extra in seen if other == name}:
            seen.add((name, extra))
            needs = [Requirement(text) for text in distribution(name).requires or ()]
            asked += [(need, name) for need in needs if _applies(need, extra)]
    assert set(here) == {name for name, _ in seen}, "a library that nothing asks for"


def _applies(requirement: Requirement, extra: str) -> bool:
    """Whether it counts on this machine and interpreter."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})
