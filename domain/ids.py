"""Ids: a typed prefix, an underscore and the 32 hex digits of a UUIDv7 (RFC 9562).

This module formats and parses; making one needs a clock, so `runtime.ids` does it (and `workflow.uuid7` in workflows).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from domain.errors import NotFound

_ID = re.compile(r"^([a-z]{2,4})_([0-9a-f]{32})$")


class Prefix(StrEnum):
    """What an id names."""

    SESSION = "ses"
    TURN = "trn"
    DOCUMENT = "doc"
    DECISION = "dec"
    CALL = "call"
    CLIENT = "cli"
    EVENT = "evt"
    REQUEST = "req"
    SLM_REQUEST = "slm"
    BUDGET = "bud"
    API_KEY = "key"
    REVOCATION = "rvk"
    KILL_SWITCH = "ksw"
    POLICY_SET = "pol"
    POLICY_REPLAY = "rpl"
    ROLE = "rol"
    USER = "usr"
    LOGIN = "lgn"
    TWO_KEY = "apr"


SessionId = Annotated[str, StringConstraints(pattern=r"^ses_[0-9a-f]{32}$")]
TurnId = Annotated[str, StringConstraints(pattern=r"^trn_[0-9a-f]{32}$")]
DocumentId = Annotated[str, StringConstraints(pattern=r"^doc_[0-9a-f]{32}$")]
SlmRequestId = Annotated[str, StringConstraints(pattern=r"^slm_[0-9a-f]{32}$")]
BudgetId = Annotated[str, StringConstraints(pattern=r"^bud_[0-9a-f]{32}$")]
ApiKeyId = Annotated[str, StringConstraints(pattern=r"^key_[0-9a-f]{32}$")]
RoleId = Annotated[str, StringConstraints(pattern=r"^rol_[0-9a-f]{32}$")]
ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""`cli_…`; the first client of a tenant may have a name instead."""
RevocationId = Annotated[str, StringConstraints(pattern=r"^rvk_[0-9a-f]{32}$")]
KillSwitchId = Annotated[str, StringConstraints(pattern=r"^ksw_[0-9a-f]{32}$")]
PolicySetId = Annotated[str, StringConstraints(pattern=r"^pol_[0-9a-f]{32}$")]
PolicyReplayId = Annotated[str, StringConstraints(pattern=r"^rpl_[0-9a-f]{32}$")]
UserId = Annotated[str, StringConstraints(pattern=r"^usr_[0-9a-f]{32}$")]
LoginId = Annotated[str, StringConstraints(pattern=r"^lgn_[0-9a-f]{32}$")]
TwoKeyId = Annotated[str, StringConstraints(pattern=r"^apr_[0-9a-f]{32}$")]
DecisionId = Annotated[str, StringConstraints(pattern=r"^dec_[0-9a-f]{32}$")]


def format_id(prefix: Prefix, uuid: UUID) -> str:
    """`ses` and a UUID make `ses_0192…`."""
    return f"{prefix.value}_{uuid.hex}"


def parse_id(prefix: Prefix, text: str) -> UUID:
    """The UUID of an id of this prefix. Raises NotFound otherwise: a malformed id names nothing."""
    match = _ID.match(text)
    if match is None or match[1] != prefix.value:
        raise NotFound(f"No {prefix.name.lower()} has that id.")
    return UUID(hex=match[2])
