"""What Schemathesis cannot know of our API; it runs as a process of its own and loads this file."""

from __future__ import annotations

import os
import re
import uuid
from typing import Any

import schemathesis

POSITION = re.compile(r"[0-9]+-[0-9]+")


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Mends the headers of a request that is meant to be valid; no request takes the token of all others, or its client."""
    body: Any = case.body
    if case.path == "/v1/revocations" and isinstance(body, dict) and "kind" in body:
        body["kind"] = "jti"
    if case.method != "GET" and case.path_parameters.get("client_id") == os.environ["CLIENT_ID"]:
        case.path_parameters["client_id"] = "cli_" + "0" * 32
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    # One key names one request: with the same for each, all but the first would be told that it came with another body.
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    # Where a pattern asks for more than letters and digits, Schemathesis writes a number into an optional header.
    if "last-event-id" in case.headers and not POSITION.fullmatch(case.headers["last-event-id"]):
        del case.headers["last-event-id"]
