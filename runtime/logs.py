"""JSON logs on standard error, ours and the libraries' alike, one object a line.

What is named like a secret or a text is replaced before it is written. Of an exception that is not ours only type and
place are written: the messages of validators and databases quote the values they choked on.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TextIO, cast

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from domain.errors import DomainError

WITHHELD: Final = "[withheld]"
_SECRET_WORDS: Final = ("secret", "password", "authorization", "api_key", "access_token", "cookie")
_TEXTS: Final = frozenset({"token", "prompt", "content", "reply", "body", "text", "query_string"})
_MAX_FRAMES: Final = 30

_SPEAKING: Final = (DomainError, OSError, ImportError, NameError, AttributeError, TypeError)
"""Exceptions whose message names no value of a request."""

_QUIET: Final = ("uvicorn.access", "httpx2", "httpcore2", "httpx", "httpcore")
"""They write what another line says already, or a URL with its query."""


def _without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = {}
    for name, value in values.items():
        lowered = name.lower()
        if lowered in _TEXTS or any(word in lowered for word in _SECRET_WORDS):
            clean[name] = WITHHELD
        elif isinstance(value, dict):
            clean[name] = _without_secrets(cast("dict[str, Any]", value))
        else:
            clean[name] = value
    return clean


def _withhold(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return _without_secrets(event)


def _with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(context.trace_id))
    return event


def _frames(place: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(place)[-_MAX_FRAMES:]]


def describe_exception(error: BaseException) -> list[dict[str, Any]]:
    """The exception and its causes, outermost first: type, place, and the message where it can hold no text."""
    described: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(described) < 10:
        kind = type(current)
        entry: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}", "frames": _frames(current.__traceback__)}
        if isinstance(current, _SPEAKING):
            entry["message"] = str(current)
        described.append(entry)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return described


def _with_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    info: ExcInfo | BaseException | bool | None = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()[1]
    if isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        event["exception"] = describe_exception(info)
    return event


def _processors(service: str) -> list[Processor]:
    def with_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
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


def configure_logs(service: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sends structlog and the standard library's logging to the stream, standard error by default, as JSON; once per process."""
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
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _with_exception,
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
