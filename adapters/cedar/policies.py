"""Cedar policies with verdicts: read from text, checked, and ready to be asked.

Cedar knows permit and forbid. Annotations say the rest:

    @id("…")        on every policy, once; the code of its reason
    @verdict("…")   on a permit `allow` (the default), `warn` or `transform`; on a forbid `deny` (the default) or `escalate`
    @reason("…")    for people, on every policy whose verdict is not `allow`
    @transform("redact:<category>")  on a permit whose verdict is `transform`; several with one space between

The policies that determined the answer give the verdict, the strictest wins, and when no policy permits the answer is deny.
What surprises: a permit that warns or transforms permits too, so it must repeat what it is a case of. And a forbid that
escalates waits for an approver only where the request is permitted without it: nobody can approve what nothing permits.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cedarpy

from adapters.cedar.places import line_and_column, sources
from domain import redaction
from domain.decisions import Verdict
from domain.policy_sets import PolicyFault

SCHEMA_TEXT: Final = (Path(__file__).parent / "schema.cedarschema").read_text(encoding="utf-8")
SCHEMA: Final = cedarpy.Schema.from_str(SCHEMA_TEXT)

# Its annotations name bare generics, which strict checking does not accept.
_driver: Any = cedarpy

_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_ANNOTATIONS: Final = frozenset({"id", "verdict", "reason", "transform"})
_VERDICTS: Final = {
    "permit": {verdict.value: verdict for verdict in (Verdict.ALLOW, Verdict.WARN, Verdict.TRANSFORM)},
    "forbid": {verdict.value: verdict for verdict in (Verdict.DENY, Verdict.ESCALATE)},
}
_DEFAULTS: Final = {"permit": Verdict.ALLOW.value, "forbid": Verdict.DENY.value}


@dataclass(frozen=True)
class Policy:
    """What the annotations of one policy say."""

    id: str
    verdict: Verdict
    reason: str
    transform: str | None


@dataclass(frozen=True)
class Policies:
    """A policy set under its own ids. `unescalated` is the set without the forbids that escalate."""

    by_id: dict[str, Policy]
    all: cedarpy.PolicySet
    unescalated: cedarpy.PolicySet


@lru_cache(maxsize=256)
def prepared(text: str) -> Policies:
    """The policies, parsed; kept by text. Raises ValueError when anything is wrong with them: see `faults` for what."""
    found = faults(text)
    if found:
        raise ValueError(found[0].message)
    static: dict[str, Any] = {policy["annotations"]["id"]: policy for policy in _parse(text)["staticPolicies"].values()}
    by_id = {id_: _read(id_, policy) for id_, policy in static.items()}
    unescalated = {id_: policy for id_, policy in static.items() if by_id[id_].verdict is not Verdict.ESCALATE}
    return Policies(by_id, _policy_set(static), _policy_set(unescalated))


def faults(text: str) -> tuple[PolicyFault, ...]:
    """What is wrong with the policies, each in a sentence with where the policy begins; empty when nothing is."""
    try:
        parsed = _parse(text)
    except ValueError as error:
        return _unparsed(text, error)
    if parsed["templates"] or parsed["templateLinks"]:
        return (PolicyFault(message="The policies hold a template; write it out, since nothing links it."),)
    static: dict[str, Any] = parsed["staticPolicies"]
    places = {f"policy{number}": line_and_column(text, offset) for number, (offset, _) in enumerate(sources(text))}
    names = {number: policy.get("annotations", {}).get("id") or number for number, policy in static.items()}

    def at(number: str, sentence: str) -> PolicyFault:
        line, column = places.get(number, (None, None))
        return PolicyFault(message=sentence, line=line, column=column)

    last = {name: number for number, name in names.items()}
    counted = Counter(names.values()).items()
    found = [at(last[name], f"{count} policies have the id {name}.") for name, count in counted if count > 1]
    for number, policy in static.items():
        found += [at(number, f"The policy {names[number]} {trouble}.") for trouble in _troubles(policy)]
    result: cedarpy.ValidationResult = _driver.validate_policies(text, SCHEMA)
    if not result.validation_passed:
        found += [
            at(error.policy_id, f"The policy {names.get(error.policy_id, error.policy_id)} breaks the schema: {_said(error)}.")
            for error in result.errors
        ]
        found = found or [PolicyFault(message="The policies break the schema.")]
    return tuple(found)


def _unparsed(text: str, error: ValueError) -> tuple[PolicyFault, ...]:
    """The policies that do not parse by themselves; the whole text where each does."""
    found: list[PolicyFault] = []
    for offset, source in sources(text):
        try:
            _parse(source)
        except ValueError as trouble:
            line, column = line_and_column(text, offset)
            found.append(PolicyFault(message=f"The policies do not parse: {trouble}.", line=line, column=column))
    return tuple(found) or (PolicyFault(message=f"The policies do not parse: {error}."),)


def _said(error: cedarpy.ValidationError) -> str:
    """Without the number that Cedar gave the policy."""
    return error.error.removeprefix(f"for policy `{error.policy_id}`, ")


def ask(requests: list[dict[str, Any]], policies: cedarpy.PolicySet, entities: list[dict[str, Any]]) -> list[cedarpy.AuthzResult]:
    """Cedar's answers, in order; requests and entities are checked against the schema. What does not fit it is in
    `diagnostics.errors`. Several at once read the entities once, which is most of what one costs."""
    return _driver.is_authorized_batch(requests, policies, entities, schema=SCHEMA)


def _parse(text: str) -> dict[str, Any]:
    return json.loads(cedarpy.policies_to_json_str(text))


def _policy_set(static: dict[str, Any]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_json_str(json.dumps({"templates": {}, "staticPolicies": static, "templateLinks": []}))


def _troubles(policy: dict[str, Any]) -> list[str]:
    """What is wrong with the annotations of one policy."""
    annotations: dict[str, str | None] = policy.get("annotations", {})
    effect: str = policy["effect"]
    word = annotations.get("verdict", _DEFAULTS[effect])
    verdict = _VERDICTS[effect].get(word or "")
    found = [f"has an unknown annotation @{name}" for name in annotations.keys() - _ANNOTATIONS]
    if _ID.fullmatch(annotations.get("id") or "") is None:
        found.append('needs an @id("…") of lower-case letters, digits and hyphens')
    if verdict is None:
        allowed = ", ".join(_VERDICTS[effect])
        found.append(f'has the verdict "{word}"; a {effect} can have {allowed}')
    elif verdict is not Verdict.ALLOW and not 0 < len(annotations.get("reason") or "") <= 300:
        found.append('needs a @reason("…") of at most 300 characters')
    if (verdict is Verdict.TRANSFORM) != ("transform" in annotations):
        found.append('needs both @verdict("transform") and @transform("…"), or neither')
    elif verdict is Verdict.TRANSFORM:
        try:
            redaction.categories(annotations["transform"] or "")
        except ValueError as error:
            found.append(f"has a @transform that says nothing to be done: {error}")
    return found


def _read(id_: str, policy: dict[str, Any]) -> Policy:
    annotations: dict[str, str] = policy["annotations"]
    effect: str = policy["effect"]
    verdict = _VERDICTS[effect][annotations.get("verdict", _DEFAULTS[effect])]
    return Policy(id_, verdict, annotations.get("reason", ""), annotations.get("transform"))
