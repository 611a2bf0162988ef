"""Certificates of an authority that lives as long as its test."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import trustme


class ServerFiles(NamedTuple):
    """PEM files: a certificate with its chain, its key, and the authority of both ends."""

    certificate: Path
    key: Path
    authority: Path


class Authority:
    """`Authority(directory).issue("127.0.0.1")`: certificates that what knows `authority` trusts."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._ca = directory, trustme.CA()
        self.authority = directory / "authority.pem"
        self._ca.cert_pem.write_to_path(str(self.authority))

    def issue(self, name: str, file: str | None = None) -> ServerFiles:
        """A certificate of that name, `localhost`, an address or a process's, in `{file or name}.pem` and `.key`."""
        stem = self._directory / (file or name)
        issued = self._ca.issue_cert(name)
        certificate, key = stem.with_name(f"{stem.name}.pem"), stem.with_name(f"{stem.name}.key")
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        key.chmod(0o600)
        return ServerFiles(certificate, key, self.authority)
