"""A gate under the built-in constitution, its ports in memory, and the request it is asked about."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from leases import NothingStopped

from activities.gate import Gate
from adapters.cedar.engine import CedarEngine
from adapters.constitution import constitution_hash
from adapters.moderation import Re2Moderator
from domain.actors import Actor
from domain.blobs import TEXT, BlobRef
from domain.constitution import ActiveConstitution
from domain.decisions import Facts, GateRequest
from domain.errors import NotFound
from domain.names import Effect
from domain.policy_sets import ActivePolicySet
from workers.embedded.constitution import builtin

ENGINE, MODERATOR = CedarEngine(), Re2Moderator()
DOCUMENT = builtin()
ACTIVE = ActiveConstitution(
    document=DOCUMENT, hash=constitution_hash(DOCUMENT), policy_digest=ENGINE.digest(DOCUMENT.policies), key_id="k"
)
ACTOR = Actor(tenant_id="demo", subject="someone", client_id="cli_1", scopes=("session:start",), jti="j")
START = (Effect.SESSION_START, Effect.TURN_ANSWER, Effect.MEMORY_RECALL, Effect.MODEL_CALL, Effect.MEMORY_REMEMBER)
DECISION_ID = "dec_" + "0" * 32
SECRET_TEXT = "Deploy with password=correct-horse-battery please."


class HeldConstitution:
    """A source that always has the same constitution."""

    def __init__(self, active: ActiveConstitution) -> None:
        self._active = active

    async def current(self) -> ActiveConstitution:
        return self._active

    async def refreshed(self) -> ActiveConstitution:
        return self._active


class HeldPolicies:
    """A tenant's policies in force, the same for every tenant; none without a text."""

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    async def current(self, tenant_id: str) -> ActivePolicySet | None:
        if self._text is None or not tenant_id:
            return None
        digest = ENGINE.digest(self._text)
        return ActivePolicySet(policy_set_id="pol_" + "0" * 32, version=1, text=self._text, digest=digest)


class AllStanding:
    """Everybody stands, or nobody."""

    def __init__(self, *, answer: bool = True) -> None:
        self._answer = answer

    async def stands(self, actor: Actor) -> bool:
        return self._answer and bool(actor.client_id)


class HeldBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def put(self, tenant_id: str, data: bytes, media_type: str = TEXT) -> BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        self._held[tenant_id, sha256] = data
        return BlobRef(sha256=sha256, size=len(data), media_type=media_type)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        try:
            return self._held[tenant_id, sha256]
        except KeyError:
            raise NotFound("No bytes with that digest are stored.") from None


def gate_request(text: BlobRef | None = None, **changes: Any) -> GateRequest:
    values: dict[str, Any] = {
        "actor": ACTOR,
        "workflow_id": "session/demo/ses_1",
        "step_key": "start",
        "effects": START,
        "resource": "ses_1",
        "text": text,
        "facts": Facts(model_role="dialogue_reasoning"),
        "region": "local",
        "at": datetime(2026, 11, 23, tzinfo=UTC),
    }
    return GateRequest(**(values | changes))


def gate_with(**ports: Any) -> Gate:
    given: dict[str, Any] = {
        "constitutions": HeldConstitution(ACTIVE),
        "policy_sets": HeldPolicies(),
        "standing": AllStanding(),
        "kill_switches": NothingStopped(),
        "moderator": MODERATOR,
        "policy": ENGINE,
        "blobs": HeldBlobs(),
    }
    return Gate(**(given | ports))
