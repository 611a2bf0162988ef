"""A NUL in an address, which Postgres takes in no text: nothing has that name, whatever the route."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from gateway_under_test import Gateway

from api.app import routed_app
from domain.names import Scope

READS = sorted(
    route.path
    for context in iter_route_contexts(routed_app().routes)
    if isinstance(route := context.route, APIRoute)
    and "GET" in route.methods
    and "{" in route.path
    and route.path.startswith("/v1/")
)


@pytest.mark.parametrize("path", READS)
async def test_it_is_not_found(gateway: Gateway, path: str) -> None:
    headers = await gateway.bearer(*Scope)
    address = re.sub(r"{[^}]*}", "a%00b", path)
    async with gateway.http() as http:
        assert (await http.get(address, headers=headers)).status_code == 404
