"""`soma signing-key`, run as an operator runs it, against one running stack."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
from soma_command import Soma

pytestmark = pytest.mark.timeout(300)


def test_a_rotation_lets_nobody_out(serving: Soma) -> None:
    address, path = serving.environment()["PUBLIC_URL"], Path(serving.environment()["SIGNING_KEY_FILE"])

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.get(f"{address}/v1/sessions", headers=headers, trust_env=False).status_code

    def kids() -> list[str]:
        return [key["kid"] for key in httpx2.get(f"{address}/.well-known/jwks.json", trust_env=False).json()["keys"]]

    old, (former,) = serving.ok("token").strip(), kids()
    told = json.loads(serving.ok("signing-key", "rotate", "--json"))
    assert (told["former"], told["keys"]) == (former, 2)
    assert kids() == [told["kid"], former]
    new = serving.ok("token").strip()
    assert [status(token) for token in (old, new)] == [200, 200]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "signs now" in serving.ok("signing-key", "rotate")
    assert len(kids()) == 3
    assert [status(token) for token in (old, new)] == [200, 200]
