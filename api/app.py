"""Builds the gateway from its services; nothing here is a module global."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import APIRouter, FastAPI

from api.edge import Edge
from api.problems import install_problem_handlers
from api.routes import (
    activation,
    api_keys,
    budgets,
    clients,
    codec,
    decisions,
    documents,
    events,
    health,
    kill_switches,
    metadata,
    oauth,
    openai,
    policy,
    policy_replays,
    policy_sets,
    problems,
    revocations,
    roles,
    sessions,
    sign_in,
    slm,
    slm_streams,
    tenants,
    two_key,
    usage,
    users,
)
from api.services import Services
from runtime.version import VERSION

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

ROUTERS: Final[tuple[APIRouter, ...]] = (
    sessions.router,
    documents.router,
    decisions.router,
    slm.router,
    slm_streams.router,
    openai.router,
    budgets.router,
    usage.router,
    events.router,
    codec.router,
    oauth.router,
    api_keys.router,
    revocations.router,
    kill_switches.router,
    *(policy.router, policy_sets.router, policy_replays.router),
    roles.router,
    clients.router,
    tenants.router,
    users.router,
    sign_in.router,
    activation.router,
    two_key.router,
    metadata.router,
    health.router,
    problems.router,
)


def routed_app(lifespan: Lifespan | None = None) -> FastAPI:
    """The routes alone: enough to describe, not to serve."""
    app = FastAPI(
        title="SomaGent",
        version=VERSION,
        lifespan=lifespan,
        # FastAPI's own pages load scripts of third parties; `metadata` serves the document.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its spans and logs hold request bodies and exception messages; the edge has its own, which do not.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False},
    )
    for router in ROUTERS:
        # Instead of include_router, which would match every path twice; our routers add nothing to their routes.
        app.router.routes.extend(router.routes)
    return app


def create_app(services: Services, lifespan: Lifespan | None = None) -> FastAPI:
    """The gateway as an ASGI application. `lifespan` opens and closes what the services hold."""
    app = routed_app(lifespan)
    app.state.services = services
    install_problem_handlers(app, services.settings.public_url)
    app.add_middleware(Edge, services=services)
    return app
