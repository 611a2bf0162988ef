"""The embedded servers as one thing: Postgres, Valkey and Temporal, started together, each to be killed and restarted alone.

The supervisor of `soma up` and the tests use the same class; it neither restarts what dies nor knows our own processes.
Everything here blocks: call it from a thread when an event loop runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import SecretStr

from workers.embedded.binaries import Isolation, script, unprivileged
from workers.embedded.files import make_private
from workers.embedded.keys import Keys, Passwords
from workers.embedded.part import Child
from workers.embedded.ports import Ports
from workers.embedded.postgres import LOGINS, OWNER, Postgres
from workers.embedded.temporal import NAMESPACE, TIME_SKIPPING, Temporal
from workers.embedded.valkey import Valkey

SERVERS: Final = ("postgres", "valkey", "temporal")
_PORT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "postgres": ("postgres",),
    "valkey": ("valkey",),
    "temporal": ("temporal", "temporal-http", "temporal-ui", "temporal-metrics"),
}


class EmbeddedStack:
    """Servers under one home directory.

    >>> with EmbeddedStack(tmp_path, time_skipping=True) as stack:
    ...     stack.environment["DATABASE_URL"]; stack.part("postgres").kill9(); stack.part("postgres").start()
    """

    def __init__(
        self,
        home: Path,
        *,
        parts: Collection[str] = SERVERS,
        ports: Ports | None = None,
        time_skipping: bool = False,
        dynamic_config: Mapping[str, str] | None = None,
        codec_endpoint: str | None = None,
        durable: bool = True,
        tied: bool = False,
        isolation: Isolation | None = None,
    ) -> None:
        """Nothing runs yet. `home` is made if it is missing.

        `ports` without a file means any free ones. `time_skipping` and `dynamic_config` (JSON values) configure Temporal,
        `codec_endpoint` is what its web UI decodes payloads with. `durable=False` leaves out fsync: a
        killed process loses nothing, a machine without power may. `tied` servers die with this process (Linux).
        Raises DependencyUnavailable.
        """
        unknown = set(parts) - set(SERVERS)
        if unknown:
            raise ValueError(f"no such part: {', '.join(sorted(unknown))}")
        self.home = make_private(home.absolute())
        self.keys = Keys(self.home)
        self.keys.ensure()
        passwords = self.keys.passwords()
        self._names = tuple(name for name in SERVERS if name in parts)
        chooser = ports or Ports(None, {})
        chosen = chooser.choose([port for name in self._names for port in _PORT_NAMES[name]])
        self._tied = tied
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.temporal: Temporal | None = None
        if "postgres" in self._names:
            way = unprivileged(isolation)
            self.postgres = Postgres(self.home, chosen["postgres"], passwords, way, durable=durable)
        if "valkey" in self._names:
            self.valkey = Valkey(self.home, chosen["valkey"], passwords.valkey)
        if "temporal" in self._names:
            config = {**(TIME_SKIPPING if time_skipping else {}), **(dynamic_config or {})}
            self.temporal = Temporal(
                self.home,
                chosen["temporal"],
                chosen["temporal-http"],
                chosen["temporal-ui"],
                chosen["temporal-metrics"],
                codec_endpoint,
                config,
            )
        self._passwords: Passwords = passwords
        self.children: dict[str, Child] = {
            server.part().name: Child(server.part(), home=self.home, tied=tied)
            for server in (self.postgres, self.valkey, self.temporal)
            if server is not None
        }

    @property
    def environment(self) -> dict[str, str]:
        """What our processes read to reach these servers and keys: names of `runtime/settings.py` and of Temporal's profiles."""
        found = {
            "SOMA_HOME": str(self.home),
            "SIGNING_KEY_FILE": str(self.keys.signing),
            "CODEC_KEY_FILE": str(self.keys.codec),
            "STATEMENT_KEY_FILE": str(self.keys.statement),
            "STATEMENT_TRUSTED_KEYS_FILE": str(self.keys.statement_trusted),
            "LOGIN_KEY_FILE": str(self.keys.login),
            "CONSTITUTION_TRUSTED_KEYS_FILE": str(self.keys.constitution_trusted),
        }
        if self.postgres:
            secrets = {"app": self._passwords.app, "relay": self._passwords.relay, "token": self._passwords.token}
            found["DATABASE_MIGRATION_URL"] = self.postgres.url(OWNER, self._passwords.owner)
            found["DATABASE_URL"] = self._login_url("app", secrets)
            found["DATABASE_RELAY_URL"] = self._login_url("relay", secrets)
            found["DATABASE_TOKEN_URL"] = self._login_url("token", secrets)
        if self.valkey:
            found["REDIS_URL"] = self.valkey.url
        if self.temporal:
            found["TEMPORAL_ADDRESS"] = self.temporal.address
            found["TEMPORAL_NAMESPACE"] = NAMESPACE
            found["TEMPORAL_UI_URL"] = self.temporal.ui_url
        return found

    def _login_url(self, login: str, secrets: Mapping[str, SecretStr]) -> str:
        if self.postgres is None:
            raise ValueError("this stack has no Postgres")
        return self.postgres.url(LOGINS[login], secrets[login])

    def part(self, name: str) -> Child:
        """One server: `pid`, `running`, `kill9()`, `start()`, `stop()`, `restart()`. Raises KeyError."""
        return self.children[name]

    def start(self, *, migrate: bool = True, progress: Callable[[str], None] | None = None) -> None:
        """Start every server side by side, wait until each serves, then migrate. On failure nothing is left running.

        `progress` is told each server that became ready. Raises DependencyUnavailable.
        """
        tell = progress or _say_nothing
        try:
            with ThreadPoolExecutor(len(SERVERS)) as pool:
                # Making the database takes longest, so it goes first.
                starts = [pool.submit(self._start_one, name, tell) for name in self._names]
            for start in starts:
                start.result()
            if migrate and self.postgres:
                self.migrate()
        except BaseException:
            self.stop()
            raise

    def _start_one(self, name: str, tell: Callable[[str], None]) -> None:
        self.prepare(name)
        self.children[name].start()
        self.complete(name)
        tell(name)

    def prepare(self, name: str) -> None:
        """What a server needs before its process: files and directories. Raises DependencyUnavailable, OSError."""
        server = {"postgres": self.postgres, "valkey": self.valkey, "temporal": self.temporal}[name]
        if server is not None:
            server.prepare()

    def complete(self, name: str) -> None:
        """What a server needs once it serves: Postgres its first user and database. Raises DependencyUnavailable."""
        if name == "postgres" and self.postgres is not None:
            self.postgres.ensure_owner()

    def migrate(self) -> None:
        """Bring the embedded database to the newest schema. Raises DependencyUnavailable."""
        # asyncpg is loaded only where a database is migrated.
        from adapters.postgres.migrate import migrate
        from workers.embedded.logins import logins

        environment = self.environment
        run_blocking(migrate(environment["DATABASE_MIGRATION_URL"], logins(environment), dbmate=script("dbmate")))

    def stop(self) -> None:
        """Stop every server side by side; none of their processes is left."""
        with ThreadPoolExecutor(len(SERVERS)) as pool:
            for done in [pool.submit(child.stop) for child in self.children.values()]:
                done.result()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def run_blocking(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a loop and thread of its own, so that a running loop of the caller does not matter."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


def _say_nothing(_: str) -> None:
    return
