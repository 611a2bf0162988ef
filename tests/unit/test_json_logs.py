"""Logs of a process: one JSON object a line, ids bound to the request, and neither secrets nor texts, whoever writes them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import logging
import structlog
from opentelemetry import trace
from pydantic import BaseModel
from domain.errors import NotFound
from runtime.logs import configure_logs
from runtime.telemetry import server_span

configure_logs("gateway", "INFO")
log = structlog.get_logger("ours")
structlog.contextvars.bind_contextvars(request_id="req_1")
log.info("plain", count=3)
log.debug("not at this level")
log.info("secrets", token="MARKER", client_secret="MARKER", nested={"Authorization": "MARKER", "deep": {"prompt": "MARKER"}})
with server_span(trace.NoOpTracer(), "test", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}):
    logging.getLogger("theirs").warning("from %s", "a library")

class Model(BaseModel):
    number: int

try:
    local_text = "MARKER"
    Model(number="MARKER")
except Exception:
    log.exception("failed")
try:
    try:
        raise KeyError("MARKER")
    except KeyError as cause:
        raise NotFound("No session has that id.") from cause
except NotFound:
    logging.getLogger("theirs").exception("failed too")
logging.getLogger("uvicorn.access").info("GET /?q=MARKER")
"""


def lines() -> list[dict[str, Any]]:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == ""
    assert "MARKER" not in run.stderr
    return [json.loads(line) for line in run.stderr.splitlines()]


def test_every_line_is_json_without_secrets_or_texts() -> None:
    plain, secrets, foreign, failed, failed_too = lines()
    assert plain["event"] == "plain"
    assert (plain["count"], plain["level"], plain["logger"], plain["service"]) == (3, "info", "ours", "gateway")
    assert plain["request_id"] == "req_1"
    assert plain["timestamp"].endswith("Z")
    assert secrets["token"] == secrets["client_secret"] == secrets["nested"]["Authorization"] == "[withheld]"
    assert secrets["nested"]["deep"]["prompt"] == "[withheld]"
    assert (foreign["event"], foreign["trace_id"]) == ("from a library", "4bf92f3577b34da6a3ce929d0e0e4736")
    (error,) = failed["exception"]
    assert error["type"].endswith("ValidationError")
    assert "message" not in error
    assert error["frames"]
    ours, cause = failed_too["exception"]
    assert ours["message"] == "No session has that id."
    assert (cause["type"], "message" in cause) == ("builtins.KeyError", False)
