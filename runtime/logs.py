"""JSON logs on standard error, ours and the libraries' alike, one object a line.

Values named like a secret or a text are replaced before they are written: a log line is no place for either, whoever
wrote it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

WITHHELD: Final = "[withheld]"
_SECRET_WORDS: Final = ("secret", "password", "authorization", "api_key", "access_token", "cookie")
_TEXTS: Final = frozenset({"token", "prompt", "content", "reply", "body", "message_text", "document_text", "query_string"})

# They write what another line says already, or what a URL's query holds.
_QUIET: Final = ("uvicorn.access", "httpx2", "httpcore2", "httpx", "httpcore")


def _withhold(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces values whose name says secret or text, nested ones too."""
    return _without_secrets(event)


def _without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for name, value in values.items():
        lowered = name.lower()
        if lowered in _TEXTS or any(word in lowered for word in _SECRET_WORDS):
            clean[name] = WITHHELD
        elif isinstance(value, dict):
            nested: dict[Any, Any] = value
            clean[name] = _without_secrets({str(key): item for key, item in nested.items()})
        else:
            clean[name] = value
    return clean


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(context.trace_id))
    return event


def _processors(service: str) -> list[Processor]:
    def with_service(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        with_service,
        _with_trace,
    ]


def configure_logs(service: str, level: str = "INFO") -> None:
    """Sends structlog and the standard library's logging to standard error as JSON; once per process."""
    shared = _processors(service)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.dict_tracebacks,
                _withhold,
                structlog.processors.JSONRenderer(default=repr),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
