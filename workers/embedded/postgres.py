"""The embedded PostgreSQL 18: its data directory, its users, its command line.

The data directory is made under another name and renamed when complete, so that a start cut short leaves nothing that looks done.
It listens on loopback TCP alone: a socket path under a deep home would exceed the 107 bytes a socket address takes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
from pydantic import SecretStr

from domain.errors import DependencyUnavailable
from workers.embedded.binaries import Unprivileged, child_environment, postgres_binary, run_program
from workers.embedded.files import make_private, write_atomically
from workers.embedded.keys import Passwords
from workers.embedded.part import Part
from workers.embedded.ports import LOOPBACK

DATABASE = "somagent"
SUPERUSER = "postgres"
OWNER = "soma_owner"
LOGINS = {"app": "soma_app_login", "relay": "soma_relay_login", "token": "soma_token_login"}

_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "120",
    "shared_buffers": "64MB",
    # One machine, no replica: fewer processes. `replica` is the least that a backup of a running server needs.
    "wal_level": "replica",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    # A failed statement may hold a text or a password.
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


def connection_url(port: int, user: str, password: SecretStr, database: str) -> str:
    """Address of an embedded database. The server's binaries have no TLS, and loopback needs none."""
    return f"postgresql://{user}:{quote(password.get_secret_value(), safe='')}@{LOOPBACK}:{port}/{database}?sslmode=disable"


_FIRST_OBJECTS = r"""
select format('create role %I', :'owner') where not exists (select from pg_roles where rolname = :'owner') \gexec
alter role :"owner" login createrole nosuperuser nobypassrls password :'secret';
select format('create database %I owner %I', :'database', :'owner')
 where not exists (select from pg_database where datname = :'database') \gexec
"""


@dataclass(frozen=True)
class Postgres:
    """One cluster under `home/postgres`."""

    home: Path
    port: int
    passwords: Passwords
    way: Unprivileged
    durable: bool = True

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "postgres" / "data"

    def url(self, user: str, password: SecretStr, database: str = DATABASE) -> str:
        """Connection address of a user."""
        return connection_url(self.port, user, password, database)

    def part(self) -> Part:
        """The postmaster."""
        options = {**_OPTIONS, "port": str(self.port)}
        if not self.durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Part(
            name="postgres",
            argv=(str(postgres_binary("postgres")), "-D", str(self.data), *flags),
            lead=self.way.lead,
            env=child_environment(),
            ready=self._answers,
            addresses={"postgres": f"{LOOPBACK}:{self.port}"},
            # Fast shutdown: ends sessions, writes a checkpoint.
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGQUIT,
            start_seconds=120.0,
            stop_seconds=30.0,
        )

    def prepare(self) -> None:
        """Make the data directory if there is none and clear a stale lock file. Raises DependencyUnavailable."""
        root = make_private(self.home / "postgres")
        if self.way.owner is not None:
            self._open_way(root, self.way.owner)
        if self.data.exists():
            self._clear_stale_lock()
            return
        fresh = root / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        password = root / "initdb.password"
        write_atomically(password, self.passwords.superuser.get_secret_value() + "\n")
        try:
            if self.way.owner is not None:
                os.chown(password, self.way.owner, self.way.owner)
            self._run_initdb(fresh, password)
        finally:
            password.unlink(missing_ok=True)
        fresh.rename(self.data)

    def _run_initdb(self, target: Path, password: Path) -> None:
        argv = [*self.way.lead, str(postgres_binary("initdb")), "-D", str(target), f"--username={SUPERUSER}"]
        argv += ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        if not self.durable:
            argv.append("--no-sync")
        done = run_program(argv, seconds=120)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise DependencyUnavailable(f"initdb failed ({' '.join(last)}); run `soma doctor`.")

    def _open_way(self, root: Path, owner: int) -> None:
        """Let `nobody` reach its directory: it owns that one and may pass through the home, not list it."""
        self.home.chmod(0o711)
        for path in (root, *root.rglob("*")):
            os.chown(path, owner, owner)
        if run_program([*self.way.lead, "test", "-w", str(root)], seconds=10).returncode != 0:
            raise DependencyUnavailable(
                f"The user nobody cannot enter {root}; set SOMA_HOME to a directory whose parents everyone may enter."
            )

    def _clear_stale_lock(self) -> None:
        """Remove a `postmaster.pid` whose process is no postmaster of this directory: Postgres goes by the bare pid."""
        lock = self.data / "postmaster.pid"
        if lock.exists() and self.postmaster() is None:
            lock.unlink(missing_ok=True)

    def postmaster(self) -> psutil.Process | None:
        """The living postmaster of this data directory, whoever started it."""
        return running_postmaster(self.data)

    def _answers(self) -> bool:
        return self._psql("select 1", database="postgres", seconds=1.0).returncode == 0

    def _psql(self, sql: str, *, database: str, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        argv = [str(postgres_binary("psql")), "-h", LOOPBACK, "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        argv += ["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-At", "-f", "-"]
        password = self.passwords.superuser.get_secret_value()
        return run_program(argv, seconds=seconds, stdin=sql, PGPASSWORD=password, PGCONNECT_TIMEOUT="2")

    def ensure_owner(self) -> None:
        """Make the schema's owner and the database if they are missing. The owner is no superuser: it may make roles.

        Raises DependencyUnavailable.
        """
        values = {"owner": OWNER, "secret": self.passwords.owner.get_secret_value(), "database": DATABASE}
        sets = "".join(f"\\set {name} '{value}'\n" for name, value in values.items())
        done = self._psql(sets + _FIRST_OBJECTS, database="postgres")
        if done.returncode != 0:
            raise DependencyUnavailable("Postgres refused to make its first user and database; see `soma logs postgres`.")


def running_postmaster(data: Path) -> psutil.Process | None:
    """The living postmaster whose working directory is `data`, found by its lock file; None when there is none."""
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).samefile(data):
            return process
    return None
