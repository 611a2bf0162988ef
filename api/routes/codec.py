"""The remote codec that Temporal's web UI asks: payloads in the clear, to operators alone.

The UI calls it from the operator's browser, so the answer allows the UI's origin and no other.
"""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Request, Response
from pydantic import Field
from temporalio.api.common.v1 import Payload

from api.auth import ServicesDependency, require
from api.context import edge_context
from api.edge_types import NO_OTHER_KEYS, MetadataKey
from api.problems import problems
from api.routing import MIB, before_authorising, body_limit, edge_router
from api.services import services_of
from domain.actors import Actor
from domain.base import Contract
from domain.names import Scope

router = edge_router("codec")


Base64 = Annotated[str, Field(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]


class WirePayload(Contract):
    """A payload in protobuf's JSON form: metadata values and data are base64."""

    metadata: dict[MetadataKey, Base64] = Field(default_factory=dict, max_length=32, json_schema_extra=dict(NO_OTHER_KEYS))
    data: Base64 = ""


class Payloads(Contract):
    """What Temporal's UI and CLI send, and get back."""

    payloads: tuple[WirePayload, ...] = Field(max_length=1000)


def _allow_ui(request: Request) -> None:
    """Lets the UI's pages read the answer, whatever it is: a browser shows them no error without this. No other origin's may."""
    headers = edge_context(request).headers
    headers["Vary"] = "Origin"
    origin = services_of(request).settings.temporal_ui_url.rstrip("/")
    if not origin or request.headers.get("origin") != origin:
        return
    headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "POST"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Namespace"
        headers["Access-Control-Max-Age"] = "600"


@router.options("/v1/codec/decode", include_in_schema=False, dependencies=[before_authorising(_allow_ui)])
async def preflight() -> Response:
    """CORS preflight of the UI's origin; any other gets no permission."""
    return Response(status_code=204)


@router.post(
    "/v1/codec/decode",
    summary="Decode payloads",
    dependencies=[body_limit(8 * MIB), before_authorising(_allow_ui)],
    responses=problems(400, 401, 403, 413, 422),
)
async def decode(body: Payloads, services: ServicesDependency, _actor: Annotated[Actor, require(Scope.CODEC_DECODE)]) -> Payloads:
    """Decrypts what the codec encrypted; payloads in the clear come back as they are."""
    codec = services.temporal.data_converter.payload_codec
    if codec is None:
        return body
    decoded = await codec.decode([_read(payload) for payload in body.payloads])
    return Payloads(payloads=tuple(_write(payload) for payload in decoded))


def _read(payload: WirePayload) -> Payload:
    metadata = {key: base64.b64decode(value) for key, value in payload.metadata.items()}
    return Payload(metadata=metadata, data=base64.b64decode(payload.data))


def _write(payload: Payload) -> WirePayload:
    metadata = {key: base64.b64encode(value).decode() for key, value in payload.metadata.items()}
    return WirePayload(metadata=metadata, data=base64.b64encode(payload.data).decode())
