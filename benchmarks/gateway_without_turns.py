"""The gateway process of the benchmark: the real one, but the sessions it starts answer no message.

The prompt is moderated, decided on, stored and recorded as a queued turn like any other; only the run leaves the turn alone,
because `SessionInput.run_turns` is off in what goes to Temporal. No route and no setting of the product can do that.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateWithStartInput,
    WorkflowUpdateHandle,
)

from api.app import create_app
from domain.sessions import SessionInput
from runtime.admin import admin_app, serve
from runtime.logs import configure_logs
from runtime.settings import Settings, settings
from workers.composition import compose_gateway
from workers.processes import run, stop_event


class _WithoutTurns(OutboundInterceptor):
    async def start_update_with_start_workflow(self, input: StartWorkflowUpdateWithStartInput) -> WorkflowUpdateHandle[Any]:  # noqa: A002
        session = input.start_workflow_input.args[0]
        if isinstance(session, SessionInput):
            input.start_workflow_input.args = [session.model_copy(update={"run_turns": False})]
        return await super().start_update_with_start_workflow(input)


class _Interceptor(Interceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        return _WithoutTurns(super().intercept_client(next))


def _without_turns(client: Client) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Interceptor()]
    return Client(**config)


async def _serve(chosen: Settings) -> None:
    """As `workers.gateway.run_gateway`, with that client."""
    configure_logs("gateway", chosen.log_level)
    stop = stop_event()

    async def serving() -> bool:
        return not stop.is_set()

    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(compose_gateway(chosen, trace.get_tracer("somagent.gateway")))
        services = replace(services, temporal=_without_turns(services.temporal))
        admin = admin_app(services.metrics.registry, serving)
        await stack.enter_async_context(serve(admin, chosen.admin_host, chosen.gateway_admin_port))
        await stack.enter_async_context(serve(create_app(services), chosen.gateway_host, chosen.gateway_port))
        await stop.wait()


if __name__ == "__main__":
    run(_serve(settings()))
