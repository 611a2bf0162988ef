"""TLS of our servers over loopback: who is served, files of no use, and a certificate that is renewed."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path

import httpx2
import pytest
from certificates import Authority, ServerFiles
from live import until
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from structlog.testing import capture_logs

from domain.errors import DependencyUnavailable
from runtime.admin import admin_app, serve
from runtime.settings import Settings
from runtime.tls import TlsFiles, server_context

HOST = "127.0.0.1"


async def well() -> bool:
    return True


APP = admin_app(CollectorRegistry(), well)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs")


async def asked(port: int, authority: Path, client: ServerFiles | None = None) -> int:
    """The status of a request."""
    context = ssl.create_default_context(cafile=str(authority))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=10) as http:
        return (await http.get(f"https://{HOST}:{port}/healthz")).status_code


async def serial(port: int, authority: Path) -> str:
    """The number of the certificate that is shown to a new connection."""
    context = ssl.create_default_context(cafile=str(authority))
    _, writer = await asyncio.open_connection(HOST, port, ssl=context)
    try:
        return str(writer.get_extra_info("peercert")["serialNumber"])
    finally:
        writer.transport.abort()


async def test_who_trusts_the_authority_is_served_and_nobody_in_plain_text(ours: Authority, theirs: Authority) -> None:
    files = ours.issue(HOST)
    async with serve(APP, HOST, 0, tls=TlsFiles(files.certificate, files.key)) as port:
        assert await asked(port, ours.authority) == 200
        with pytest.raises(httpx2.ConnectError):
            await asked(port, theirs.authority)
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
            with pytest.raises(httpx2.TransportError):
                await http.get(f"http://{HOST}:{port}/healthz")


async def test_what_is_older_than_tls_1_2_is_refused(ours: Authority) -> None:
    files = ours.issue(HOST)
    assert server_context(TlsFiles(files.certificate, files.key)).minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_with_a_client_authority_nobody_without_its_certificate_is_served(ours: Authority, theirs: Authority) -> None:
    files = ours.issue(HOST)
    async with serve(APP, HOST, 0, tls=TlsFiles(files.certificate, files.key, ours.authority)) as port:
        assert await asked(port, ours.authority, ours.issue("client.example")) == 200
        for client in (None, theirs.issue("client.example")):
            with pytest.raises(httpx2.TransportError):
                await asked(port, ours.authority, client)


async def test_a_renewed_certificate_is_shown_once_it_has_its_key(ours: Authority) -> None:
    files, renewed = ours.issue(HOST), ours.issue(HOST, "renewed")
    with capture_logs() as logs:
        async with serve(APP, HOST, 0, tls=TlsFiles(files.certificate, files.key, renewal_seconds=0.05)) as port:
            first = await serial(port, ours.authority)
            await asyncio.to_thread(shutil.copyfile, renewed.certificate, files.certificate)

            async def refused() -> bool:
                return any(entry["event"] == "tls.not_renewed" for entry in logs)

            await until(refused)
            assert await serial(port, ours.authority) == first
            await asyncio.to_thread(shutil.copyfile, renewed.key, files.key)

            async def shown() -> bool:
                return await serial(port, ours.authority) != first

            await until(shown)
            assert await asked(port, ours.authority) == 200


@pytest.mark.parametrize(
    ("certificate", "key", "authority", "said"),
    [
        ("a.pem", "b.key", None, "no certificate with its key"),
        ("missing.pem", "a.key", None, "no certificate with its key"),
        ("a.key", "a.pem", None, "no certificate with its key"),
        ("a.pem", "a.key", "a.key", "no authority"),
        ("a.pem", "a.key", "missing.pem", "no authority"),
    ],
)
async def test_files_of_no_use_are_named(tmp_path: Path, certificate: str, key: str, authority: str | None, said: str) -> None:
    made = Authority(tmp_path)
    made.issue(HOST, "a")
    made.issue(HOST, "b")
    files = TlsFiles(tmp_path / certificate, tmp_path / key, tmp_path / authority if authority else None)
    with pytest.raises(DependencyUnavailable, match=said):
        async with serve(APP, HOST, 0, tls=files):
            pytest.fail("it serves")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gateway_tls_cert_file": "a.pem"}, "come together"),
        ({"gateway_tls_key_file": "a.key"}, "come together"),
        ({"gateway_tls_client_ca_file": "ca.pem"}, "asks for TLS"),
    ],
)
def test_half_of_the_settings_is_refused(given: dict[str, Path], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings(**given)
