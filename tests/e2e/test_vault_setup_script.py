"""infra/vault/setup.sh prepares a Vault whose AppRole reads the keys of providers, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from fakes.vault_server import ROOT_TOKEN, FakeVault
from soma_command import ROOT

from adapters.secrets.vault import VaultSecrets
from adapters.secrets.vault_client import VaultAccess
from domain.errors import SecretDenied


async def run(vault: FakeVault, token: str = ROOT_TOKEN) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        ["sh", str(ROOT / "infra/vault/setup.sh")],
        env={"PATH": os.environ["PATH"], "VAULT_ADDR": vault.base, "VAULT_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_its_role_reads_keys_of_providers_alone(tmp_path: Path) -> None:
    async with FakeVault() as vault:
        done = [await run(vault), await run(vault)]
        assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
        role_id = done[0].stdout.strip()
        assert done[1].stdout == done[0].stdout
        assert vault.mounted["sys/mounts", "somagent"] == {"type": "kv", "options": {"version": "2"}}
        assert vault.policies == {"somagent-worker": ("models/",)}
        vault.roles["approle", role_id] = "made-by-an-operator"
        vault.put("models/openai", "sk-1")
        vault.put("identity/signing", "sk-2")
        path = tmp_path / "secret-id"
        path.write_text("made-by-an-operator")
        access = VaultAccess(address=vault.base, auth="approle", role=role_id, credential_file=path)
        store = VaultSecrets(access, refresh_seconds=1, stale_seconds=1)
        assert (await store.read("models/openai")).value.get_secret_value() == "sk-1"
        with pytest.raises(SecretDenied):
            await store.read("identity/signing")
        await store.aclose()


async def test_it_stops_where_it_may_not() -> None:
    async with FakeVault() as vault:
        done = await run(vault, "hvs.unknown")
        assert done.returncode != 0
        assert "hvs.unknown" not in done.stdout + done.stderr
        assert vault.policies == {}
