"""The gateway process: an HTTP server that starts, updates and reads, and holds nothing that is lost with it."""

from __future__ import annotations

import structlog
from opentelemetry import trace

from api.app import create_app
from runtime.admin import admin_app, serve
from runtime.logs import configure_logs
from runtime.sdk_metrics import SdkMetrics
from runtime.settings import Settings
from runtime.telemetry import start_tracing
from runtime.tls import gateway_tls
from workers.composition import compose_gateway
from workers.processes import stop_event

log = structlog.get_logger("workers.gateway")
_DRAIN_SECONDS = 10


async def run_gateway(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT; open requests get ten seconds to end. Raises DependencyUnavailable."""
    configure_logs("gateway", settings.log_level)
    tracing = start_tracing("gateway", settings.otel_exporter_otlp_endpoint, settings.region)
    stop = stop_event()
    counted = SdkMetrics.of_process()

    async def serving() -> bool:
        return not stop.is_set()

    try:
        async with counted.kept_up(), compose_gateway(settings, trace.get_tracer("somagent.gateway")) as services:
            services.metrics.registry.register(counted)
            admin = admin_app(services.metrics.registry, serving)
            async with (
                serve(admin, settings.admin_host, settings.gateway_admin_port),
                serve(
                    create_app(services),
                    settings.gateway_host,
                    settings.gateway_port,
                    drain_seconds=_DRAIN_SECONDS,
                    tls=gateway_tls(settings),
                ),
            ):
                log.info("gateway.started", host=settings.gateway_host, port=settings.gateway_port)
                await stop.wait()
                services.streams.close()
            log.info("gateway.stopped")
    finally:
        if tracing is not None:
            tracing.shutdown()
