"""Tokens of a constitution that is in force no more: refused as that, and a fresh one is one call away."""

from __future__ import annotations

import httpx2
import pytest
from gateway_under_test import Gateway, StartGateway

from domain.constitution import ActiveConstitution
from domain.errors import ConstitutionUnavailable
from domain.names import Scope


class Switched:
    """A constitution that is put in force anew; `current` may lag behind."""

    def __init__(self, active: ActiveConstitution) -> None:
        self.held = self.newest = active
        self.away = False

    async def current(self) -> ActiveConstitution:
        if self.away:
            raise ConstitutionUnavailable("None is to be had.")
        return self.held

    async def refreshed(self) -> ActiveConstitution:
        self.held = self.newest
        return await self.current()


@pytest.fixture
async def source(gateway: Gateway) -> Switched:
    return Switched(await gateway.services.constitution.current())


async def test_it_is_refused_and_a_fresh_one_is_not(start_gateway: StartGateway, source: Switched) -> None:
    gateway = await start_gateway(constitution=source)
    client = await gateway.client(Scope.SESSION_READ)
    async with gateway.http() as http:

        async def fresh() -> dict[str, str]:
            form = {"grant_type": "client_credentials"}
            answer = await http.post("/v1/oauth/token", data=form, auth=(client.client_id, client.secret))
            return {"Authorization": f"Bearer {answer.json()['access_token']}"}

        headers = await fresh()
        assert (await http.get("/v1/sessions", headers=headers)).status_code == 200
        source.newest = source.held.model_copy(update={"hash": "1" * 64})
        # This gateway has not heard of it yet; the token endpoint asks.
        new = await fresh()
        assert (await http.get("/v1/sessions", headers=new)).status_code == 200
        refused: httpx2.Response = await http.get("/v1/sessions", headers=headers)
        assert refused.status_code == 401
        assert refused.json()["type"].endswith("/stale-constitution")
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


async def test_a_token_that_is_ahead_of_this_gateway_is_taken(start_gateway: StartGateway, source: Switched) -> None:
    source.newest = source.held.model_copy(update={"hash": "2" * 64})
    gateway = await start_gateway(constitution=source)
    token = gateway.token(await gateway.client(Scope.SESSION_READ), constitution_hash="2" * 64)
    async with gateway.http() as http:
        assert (await http.get("/v1/sessions", headers={"Authorization": f"Bearer {token}"})).status_code == 200


async def test_reading_goes_on_while_there_is_no_constitution(start_gateway: StartGateway, source: Switched) -> None:
    source.away = True
    gateway = await start_gateway(constitution=source)
    token = gateway.token(await gateway.client(Scope.SESSION_READ), constitution_hash="3" * 64)
    async with gateway.http() as http:
        assert (await http.get("/v1/sessions", headers={"Authorization": f"Bearer {token}"})).status_code == 200
