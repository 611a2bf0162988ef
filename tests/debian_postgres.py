"""A PostgreSQL 15 of Debian's package on loopback, which has TLS and is the oldest one served."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import ServerFiles

from workers.embedded.binaries import unprivileged
from workers.embedded.ports import free_ports

BINARIES = Path("/usr/lib/postgresql/15/bin")
BY_PASSWORD = "host all all 127.0.0.1/32 scram-sha-256\n"
BY_CERTIFICATE_TOO = "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"


@contextmanager
def debian_postgres(directory: Path, tls: ServerFiles | None = None) -> Iterator[str]:
    """`host:port/database`, where `soma_owner` with the password `owner` owns the schema. With `tls` plain connections and
    clients without a certificate of its authority are refused."""
    assert BINARIES.exists(), "Debian's package postgresql-15 is missing; install it with `make system`"
    (port,), data, lead = free_ports(1), directory / "data", list(unprivileged().lead)
    initdb = [*lead, str(BINARIES / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True)
    settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
    if tls is not None:
        settings += ["ssl=on", *_owned(tls, data)]
    options = [word for setting in settings for word in ("-c", setting)]
    with (directory / "log").open("w") as log:
        server = subprocess.Popen([*lead, str(BINARIES / "postgres"), "-D", str(data), *options], stdout=log, stderr=log)
    try:
        psql = [str(BINARIES / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
        while subprocess.run([*psql, "-c", "select 1"], check=False, capture_output=True).returncode:
            assert server.poll() is None, (directory / "log").read_text()
        made = "create role soma_owner login createrole password 'owner'", "create database somagent owner soma_owner"
        for statement in made:
            subprocess.run([*psql, "-c", statement], check=True, capture_output=True)
        # Connections are checked from here on, as on any server.
        (data / "pg_hba.conf").write_text(BY_PASSWORD if tls is None else BY_CERTIFICATE_TOO)
        server.send_signal(signal.SIGHUP)
        yield f"127.0.0.1:{port}/somagent"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def _owned(tls: ServerFiles, data: Path) -> list[str]:
    """The settings, with copies of the files that belong to the server's user, who takes no key that others may read."""
    settings: list[str] = []
    for setting, source in (("ssl_cert_file", tls.certificate), ("ssl_key_file", tls.key), ("ssl_ca_file", tls.authority)):
        copy = data / source.name
        shutil.copyfile(source, copy)
        copy.chmod(0o600)
        shutil.chown(copy, data.owner(), data.group())
        settings.append(f"{setting}={copy}")
    return settings
