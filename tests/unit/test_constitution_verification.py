"""A constitution holds when everything about it does: signature, form, dates, policies, rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.cedar.engine import CedarEngine
from adapters.constitution import canonical, constitution_hash, sign_constitution, verify
from adapters.moderation import Re2Moderator
from adapters.signing import new_signing_key, sign_envelope
from domain.constitution import PAYLOAD_TYPE, ActiveConstitution, Constitution, ModerationRule, Severity
from domain.errors import ConstitutionUnavailable
from workers.embedded.constitution import builtin, sign_builtin

KEY = new_signing_key()
NOW = datetime(2026, 11, 24, tzinfo=UTC)
ENGINE, MODERATOR = CedarEngine(), Re2Moderator()
SMALL = builtin().model_copy(update={"moderation": ()})


def verified(envelope: object, now: datetime = NOW) -> ActiveConstitution:
    return verify(envelope, trusted={KEY.key_id: KEY.public}, moderator=MODERATOR, engine=ENGINE, now=now)


def signed(**changes: Any) -> dict[str, Any]:
    return sign_constitution(SMALL.model_copy(update=changes), KEY)


def payload(**changes: Any) -> dict[str, Any]:
    """Signed JSON that need not be a constitution."""
    document = json.loads(canonical(SMALL)) | changes
    return sign_envelope(json.dumps(document, sort_keys=True, separators=(",", ":")).encode(), PAYLOAD_TYPE, KEY)


def test_the_built_in_one_verifies_and_is_the_same_everywhere() -> None:
    active = verified(sign_builtin(KEY))
    assert active.document == builtin()
    assert (active.hash, active.key_id) == (constitution_hash(builtin()), KEY.key_id)
    assert active.policy_digest == ENGINE.digest(builtin().policies)
    assert sign_builtin(KEY) == sign_builtin(KEY)


def test_the_hash_is_of_what_was_signed() -> None:
    """A field with a default may be left out; the hash is still that of the signed bytes."""
    document = json.loads(canonical(SMALL))
    del document["limits"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    active = verified(sign_envelope(text, PAYLOAD_TYPE, KEY))
    assert active.document == SMALL
    assert active.hash != constitution_hash(SMALL)


@pytest.mark.parametrize(
    ("envelope", "complaint"),
    [
        (sign_constitution(SMALL, new_signing_key()), "not signed by a trusted key"),
        (sign_envelope(canonical(SMALL), "application/json", KEY), "does not hold"),
        (sign_envelope(b"{", PAYLOAD_TYPE, KEY), "no JSON"),
        (sign_envelope(b" " + canonical(SMALL), PAYLOAD_TYPE, KEY), "canonical form"),
        (payload(version=0), "version"),
        (payload(version="1"), "version"),
        (payload(surprise=1), "surprise"),
        (payload(principles=[]), "principles"),
        (signed(issued_at=NOW + timedelta(hours=1)), "still to come"),
        (signed(expires_at=NOW), "expired"),
        (signed(policies="permit("), "do not parse"),
        (signed(policies='@id("a") permit(principal, action, resource) when { context.mood };'), "breaks the schema"),
        (signed(policies='@id("a") @verdict("maybe") permit(principal, action, resource);'), "maybe"),
        (
            signed(moderation=(ModerationRule(id="r", category="c", severity=Severity.LOW, patterns=("(",), message="m"),)),
            "moderation rule r",
        ),
        ("nonsense", "no DSSE envelope"),
    ],
)
def test_what_does_not_hold_is_named(envelope: object, complaint: str) -> None:
    with pytest.raises(ConstitutionUnavailable, match=complaint):
        verified(envelope)


def test_dates_at_their_edges() -> None:
    assert verified(signed(expires_at=NOW + timedelta(seconds=1)))
    assert verified(signed(issued_at=NOW + timedelta(minutes=4)))


def test_the_built_in_policies_permit_what_a_session_does() -> None:
    """No policy of the built-in set is unknown to the engine, and none is named like a reason of the gate."""
    document: Constitution = builtin()
    assert ENGINE.check(document.policies) == ()
    assert len({rule.id for rule in document.moderation}) == len(document.moderation)
