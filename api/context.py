"""What the edge knows of a request while it is answered: its ids, and headers to add to whatever answer it gets."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from starlette.requests import HTTPConnection

from domain.actors import Actor

_KEY: Final = "somagent.edge"


@dataclass(slots=True)
class EdgeContext:
    """One request. `headers` are set on the answer, problem or not."""

    request_id: str
    trace_id: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    actor: Actor | None = None

    def bind(self, scope: MutableMapping[str, Any]) -> None:
        """Puts it where `edge_context` finds it."""
        scope[_KEY] = self


def edge_context(request: HTTPConnection) -> EdgeContext:
    """The context that the edge middleware made for this request."""
    return cast(EdgeContext, request.scope[_KEY])
