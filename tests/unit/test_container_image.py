"""infra/Dockerfile and its health check: pinned, hash-checked, complete, not root, and healthy only when the process answers."""

from __future__ import annotations

import importlib.util
import re
import socket
import threading
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from runtime.settings import Settings
from workers.embedded.ports import free_ports

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "infra/Dockerfile", ROOT / "infra/otel/Dockerfile"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) with continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), arguments) for name, arguments in pairs]


def last_stage(path: Path) -> list[tuple[str, str]]:
    steps = instructions(path)
    start = max(index for index, (name, _) in enumerate(steps) if name == "FROM")
    return steps[start:]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_it_does_not_run_as_root_and_its_health_is_asked(path: Path) -> None:
    stage = last_stage(path)
    users = [arguments for name, arguments in stage if name == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "a numeric user, which Kubernetes can tell from root"
    checks = [arguments for name, arguments in stage if name == "HEALTHCHECK"]
    assert len(checks) == 1
    assert "NONE" not in checks[0]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_base_images_are_pinned(path: Path) -> None:
    bases = [arguments.split()[0] for name, arguments in instructions(path) if name == "FROM"]
    assert bases
    assert [base for base in bases if not re.fullmatch(r"[a-z0-9./-]+:\d+\.\d+\.\d+[a-z0-9.-]*", base)] == []


def test_every_library_is_checked_by_hash_and_ours_brings_none() -> None:
    installs = [
        command.strip()
        for name, arguments in instructions(DOCKERFILES[0])
        if name == "RUN"
        for command in arguments.split("&&")
        if "pip install" in command
    ]
    required = [re.findall(r"-r (\S+)", command) for command in installs if "--require-hashes" in command]
    assert required == [["requirements/core.txt"], ["requirements/build.txt"]]
    others = [command for command in installs if "--require-hashes" not in command]
    assert len(others) == 1
    assert "--no-deps" in others[0]
    assert "--no-index" in others[0]


def test_every_package_of_the_distribution_reaches_the_image() -> None:
    packages = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {arguments.split()[0] for name, arguments in instructions(DOCKERFILES[0]) if name == "COPY"}
    allowed = {line[1:] for line in (ROOT / "infra/Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert packages <= copied
    assert packages <= allowed


@pytest.fixture(scope="module")
def healthcheck() -> ModuleType:
    """The script, loaded from where the image copies it."""
    source = next(arguments.split()[0] for _, arguments in instructions(DOCKERFILES[0]) if "healthcheck.py" in arguments)
    spec = importlib.util.spec_from_file_location("container_healthcheck", ROOT / source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_command_is_asked_on_its_own_port(healthcheck: ModuleType) -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    for command, (variable, default) in healthcheck.PORTS.items():
        assert defaults[variable.lower()] == default
        words = ["/sbin/docker-init", "--", "/opt/soma/bin/python", "/opt/soma/bin/soma", command, "--queue", "slm"]
        assert healthcheck.health_port(words, {}) == default
        assert healthcheck.health_port(words, {variable: "9999"}) == 9999
        assert healthcheck.health_port(words, {variable: ""}) == default
    with pytest.raises(LookupError):
        healthcheck.health_port(["soma", "migrate"], {})


def answer_once(status: bytes) -> int:
    """Port of a server that answers one request with `status`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            request = connection.recv(4096)
            assert request.startswith(b"GET /healthz HTTP/1.1")
            connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    threading.Thread(target=serve).start()
    return int(listener.getsockname()[1])


@pytest.mark.parametrize(("status", "healthy"), [(b"200 OK", True), (b"503 Service Unavailable", False), (b"nonsense", False)])
def test_only_200_is_healthy(healthcheck: ModuleType, status: bytes, healthy: bool) -> None:
    assert healthcheck.is_healthy(answer_once(status)) is healthy


def test_nobody_listening_is_unhealthy(healthcheck: ModuleType) -> None:
    assert healthcheck.is_healthy(free_ports(1)[0]) is False
