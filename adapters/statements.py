"""Statements the platform signs: in-toto statements (https://in-toto.io/Statement/v1) in DSSE envelopes.

Whoever holds the public key verifies one without us: the envelope is all there is to it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pydantic_core
import rfc8785
from pydantic import ValidationError

from adapters.signing import TrustedKeys, read_signing_key, sign_envelope, verify_envelope
from domain.errors import DependencyUnavailable, Unprocessable
from domain.kill_switches import KillSwitchStatement

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
KILL_SWITCH_PREDICATE: Final = "urn:somagent:kill-switch-statement:v1"
_NAMED: Final = ("switch_id", "scope", "value", "target_tenant", "engaged_at")


class DsseSigner:
    """Implements `StatementSigner` with a key file."""

    def __init__(self, path: Path | None) -> None:
        """`path` names a JWK set whose first private key signs; it is read with each statement."""
        self._path = path

    def sign(self, statement: KillSwitchStatement) -> dict[str, Any]:
        """The envelope; its payload is canonical JSON (RFC 8785). Raises DependencyUnavailable without a key."""
        if self._path is None:
            raise DependencyUnavailable("No key signs statements; STATEMENT_KEY_FILE must name one.")
        predicate = statement.model_dump(mode="json")
        whole = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": statement.switch_id, "digest": {"sha256": _digest(predicate)}}],
            "predicateType": KILL_SWITCH_PREDICATE,
            "predicate": predicate,
        }
        return sign_envelope(rfc8785.dumps(whole), PAYLOAD_TYPE, read_signing_key(self._path))


def verify_statement(envelope: object, trusted: TrustedKeys) -> KillSwitchStatement:
    """The statement in an envelope that a trusted key signed. Raises Unprocessable, saying what does not hold."""
    payload, _ = verify_envelope(envelope, PAYLOAD_TYPE, trusted)
    try:
        whole: dict[str, Any] = pydantic_core.from_json(payload)
        if (whole["_type"], whole["predicateType"]) != (STATEMENT_TYPE, KILL_SWITCH_PREDICATE):
            raise Unprocessable("The envelope is signed and holds another kind of statement.")
        statement = KillSwitchStatement.model_validate_json(json.dumps(whole["predicate"]))
        named = [{"name": statement.switch_id, "digest": {"sha256": _digest(whole["predicate"])}}]
    except (ValueError, KeyError, TypeError, ValidationError):
        raise Unprocessable("The envelope is signed and holds no kill-switch statement.") from None
    if whole["subject"] != named:
        raise Unprocessable("The statement is signed and names another switch than it tells of.")
    return statement


def _digest(predicate: dict[str, Any]) -> str:
    """SHA-256 over what identifies the switch, as canonical JSON."""
    return hashlib.sha256(rfc8785.dumps({name: predicate[name] for name in _NAMED})).hexdigest()
