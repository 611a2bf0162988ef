"""TLS of a server of ours: what it shows, whom it lets in, and a certificate that is renewed without a restart."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from domain.errors import DependencyUnavailable
from runtime.settings import Settings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the certificate with those between it and its authority, its key, and the authority of the clients.

    With a client authority the server takes no connection without a certificate from there (mutual TLS). Whether the first two
    have changed is looked at every `renewal_seconds`.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None
    renewal_seconds: float = 10.0


def gateway_tls(settings: Settings) -> TlsFiles | None:
    """What the gateway's settings name; None for plain HTTP."""
    if settings.gateway_tls_cert_file is None or settings.gateway_tls_key_file is None:
        return None
    return TlsFiles(settings.gateway_tls_cert_file, settings.gateway_tls_key_file, settings.gateway_tls_client_ca_file)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 or newer with the standard library's choice of ciphers. Raises DependencyUnavailable for files of no use."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    if files.client_authority is not None:
        try:
            context.load_verify_locations(files.client_authority)
        except OSError as error:
            raise DependencyUnavailable(f"{files.client_authority} holds no authority to know clients by ({error}).") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@asynccontextmanager
async def renewed(context: ssl.SSLContext, files: TlsFiles) -> AsyncGenerator[None]:
    """Within the block new connections are shown the certificate that is in the files.

    Files that do not fit each other, as while one of the two is written, leave the certificate as it is.
    """
    task = asyncio.create_task(_renew(context, files))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _renew(context: ssl.SSLContext, files: TlsFiles) -> None:
    seen = await asyncio.to_thread(_stamps, files)
    while True:
        await asyncio.sleep(files.renewal_seconds)
        if (now := await asyncio.to_thread(_stamps, files)) == seen:
            continue
        try:
            # A trial first: a certificate is taken over before its key is found not to fit.
            await asyncio.to_thread(_load, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), files)
            _load(context, files)
        except DependencyUnavailable as error:
            _log.warning("tls.not_renewed", reason=str(error))
        else:
            seen = now
            _log.info("tls.renewed", certificate=str(files.certificate))


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    def no_passphrase() -> str:
        raise OSError("its key has a passphrase, which nobody is here to type")

    try:
        context.load_cert_chain(files.certificate, files.key, no_passphrase)
    except OSError as error:
        raise DependencyUnavailable(f"{files.certificate} and {files.key} are no certificate with its key ({error}).") from error


def _stamps(files: TlsFiles) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for path in (files.certificate, files.key):
        try:
            stat = os.stat(path)
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(None)
    return found
