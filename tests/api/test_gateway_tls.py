"""`soma gateway` by its settings for TLS: it serves clients with a certificate of the authority, and no others."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from certificates import Authority
from relay_process import eventually

from workers.embedded.ports import free_ports
from workers.embedded.stack import EmbeddedStack

ROOT = Path(__file__).parents[2]


def test_the_gateway_takes_clients_with_a_certificate_alone(stack: EmbeddedStack, tmp_path: Path) -> None:
    ours, log = Authority(tmp_path), tmp_path / "log"
    files, client = ours.issue("127.0.0.1"), ours.issue("client.example")
    port, admin = free_ports(2)
    environment = {
        **os.environ,
        **stack.environment,
        "PYTHONPATH": str(ROOT),
        "GATEWAY_PORT": str(port),
        "GATEWAY_ADMIN_PORT": str(admin),
        "GATEWAY_TLS_CERT_FILE": str(files.certificate),
        "GATEWAY_TLS_KEY_FILE": str(files.key),
        "GATEWAY_TLS_CLIENT_CA_FILE": str(ours.authority),
    }
    with log.open("w") as out:
        argv = [sys.executable, "-m", "workers.cli.main", "gateway"]
        process = subprocess.Popen(argv, env=environment, stdout=out, stderr=out)
    try:
        eventually(lambda: "gateway.started" in log.read_text() or process.poll() is not None, 40)
        context = ssl.create_default_context(cafile=str(ours.authority))
        with httpx2.Client(verify=context, trust_env=False, timeout=10) as http, pytest.raises(httpx2.TransportError):
            http.get(f"https://127.0.0.1:{port}/healthz")
        context.load_cert_chain(client.certificate, client.key)
        with httpx2.Client(verify=context, trust_env=False, timeout=10) as http:
            assert http.get(f"https://127.0.0.1:{port}/healthz").status_code == 200, log.read_text()
            # A certificate lets in; who somebody is a token says.
            assert http.get(f"https://127.0.0.1:{port}/v1/budgets").status_code == 401
    finally:
        process.terminate()
        process.wait(20)
