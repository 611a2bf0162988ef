"""The policy engine on Cedar. Whatever goes wrong is a denial: a policy that errs is skipped by Cedar, which would permit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import cedarpy
import rfc8785

from adapters.cedar.policies import SCHEMA_TEXT, Policies, Policy, ask, faults, prepared
from domain.capabilities import opening
from domain.decisions import Reason, ReasonCode, Verdict, strictest
from domain.names import Effect
from domain.policy_sets import SPEAKERS, LayerVerdict, PolicyFault, PolicyLayer, PolicyLayers
from domain.ports.policy import PolicyAnswer, PolicyQuestion

_RESOURCES: Final = {
    Effect.MEMORY_RECALL: "Memory",
    Effect.MEMORY_REMEMBER: "Memory",
    Effect.MODEL_CALL: "Model",
}


class CedarEngine:
    """Implements `domain.ports.policy.PolicyEngine`. Policy sets are parsed once and kept."""

    def evaluate(self, layers: PolicyLayers, question: PolicyQuestion) -> PolicyAnswer:
        """The strictest verdict of the policies that determined the answers of each layer. Never raises: an error is a denial."""
        return _together(_Layer(layer).evaluate(text, question) for layer, text in layers.named())

    def check(self, policies: str) -> tuple[PolicyFault, ...]:
        """What is wrong with the policies; empty when nothing is."""
        return faults(policies)

    def count(self, policies: str) -> int:
        """How many there are. Raises ValueError."""
        return len(prepared(policies).by_id)

    def digest(self, policies: str) -> str:
        """SHA-256 over the canonical JSON of policies and schema."""
        return hashlib.sha256(rfc8785.dumps({"policies": policies, "schema": SCHEMA_TEXT})).hexdigest()


class _Layer:
    """One layer, evaluated as if there were no other."""

    def __init__(self, layer: PolicyLayer) -> None:
        self._layer = layer

    def evaluate(self, text: str, question: PolicyQuestion) -> PolicyAnswer:
        try:
            return self._answer(prepared(text), question)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
            return self._error()

    def _answer(self, policies: Policies, question: PolicyQuestion) -> PolicyAnswer:
        requests, entities = [_request(question, action) for action in question.actions], _entities(question)
        results = ask(requests, policies.all, entities)
        return _together(
            self._one(policies, request, entities, result) for request, result in zip(requests, results, strict=True)
        )

    def _one(
        self, policies: Policies, request: dict[str, Any], entities: list[dict[str, Any]], result: cedarpy.AuthzResult
    ) -> PolicyAnswer:
        if result.diagnostics.errors:
            return self._error()
        determining = [policies.by_id[id_] for id_ in result.diagnostics.reasons]
        if result.decision is cedarpy.Decision.Allow:
            return self._from(determining)
        if result.decision is not cedarpy.Decision.Deny:
            return self._error()
        if not determining:
            return self._denial(ReasonCode.NO_POLICY_PERMITS, "No policy permits this.")
        if strictest(*(policy.verdict for policy in determining)) is Verdict.DENY:
            return self._from(determining)
        (permitted,) = ask([request], policies.unescalated, entities)
        if permitted.diagnostics.errors:
            return self._error()
        if permitted.decision is not cedarpy.Decision.Allow:
            return self._denial(ReasonCode.NO_POLICY_PERMITS, "No policy permits this, so there is nothing to approve.")
        return self._from([*determining, *(policies.by_id[id_] for id_ in permitted.diagnostics.reasons)])

    def _from(self, determining: list[Policy]) -> PolicyAnswer:
        verdict = strictest(*(policy.verdict for policy in determining))
        spoken = sorted((policy for policy in determining if policy.verdict is not Verdict.ALLOW), key=lambda policy: policy.id)
        return PolicyAnswer(
            verdict=verdict,
            reasons=tuple(Reason(checker=SPEAKERS[self._layer], code=policy.id, message=policy.reason) for policy in spoken),
            transform=_instructions(policy.transform for policy in spoken),
            layers=(self._verdict(verdict, *(policy.id for policy in determining)),),
        )

    def _denial(self, code: ReasonCode, message: str) -> PolicyAnswer:
        reason = Reason(checker=SPEAKERS[self._layer], code=code.value, message=message)
        return PolicyAnswer(verdict=Verdict.DENY, reasons=(reason,), layers=(self._verdict(Verdict.DENY),))

    def _error(self) -> PolicyAnswer:
        return self._denial(ReasonCode.POLICY_ERROR, "The policies could not be evaluated, which is a denial.")

    def _verdict(self, verdict: Verdict, *policies: str) -> LayerVerdict:
        return LayerVerdict(layer=self._layer, verdict=verdict, policies=tuple(sorted(policies)))


def _together(given: Iterable[PolicyAnswer]) -> PolicyAnswer:
    """One answer of several, to other actions or by other layers: the strictest verdict, each reason and instruction once."""
    answers = tuple(given)
    by_layer: dict[PolicyLayer, list[LayerVerdict]] = {}
    for said in (said for answer in answers for said in answer.layers):
        by_layer.setdefault(said.layer, []).append(said)
    return PolicyAnswer(
        verdict=strictest(*(answer.verdict for answer in answers)),
        reasons=tuple(dict.fromkeys(reason for answer in answers for reason in answer.reasons)),
        transform=_instructions(answer.transform for answer in answers),
        layers=tuple(
            LayerVerdict(
                layer=layer,
                verdict=strictest(*(each.verdict for each in said)),
                policies=tuple(sorted({id_ for each in said for id_ in each.policies})),
            )
            for layer, said in by_layer.items()
        ),
    )


def _instructions(given: Iterable[str | None]) -> str | None:
    """All instructions, each once."""
    return " ".join(sorted({word for words in given if words for word in words.split(" ")})) or None


def _uid(kind: str, id_: str) -> dict[str, str]:
    return {"type": f"Soma::{kind}", "id": id_}


def _resource(question: PolicyQuestion, action: str) -> dict[str, str]:
    kind = _RESOURCES.get(Effect(action), "Session")
    return _uid(kind, question.facts.model_role if kind == "Model" else question.resource)


def _tenant(question: PolicyQuestion) -> str:
    """The resource's tenant: its own where it is named `feature/tenant/id`, else the actor's."""
    parts = question.resource.split("/")
    return parts[1] if len(parts) == 3 else question.actor.tenant_id


def _user(question: PolicyQuestion) -> dict[str, str]:
    return _uid("User", f"{question.actor.tenant_id}/{question.actor.subject}")


def _request(question: PolicyQuestion, action: str) -> dict[str, Any]:
    facts = question.facts
    return {
        "principal": _user(question),
        "action": _uid("Action", action),
        "resource": _resource(question, action),
        "context": {
            "score": question.score,
            "text_bytes": facts.text_bytes,
            "documents": facts.documents,
            "document_bytes": facts.document_bytes,
            "turn": facts.turn,
            "persona": facts.persona,
            "model_role": facts.model_role,
            "region": question.region,
            "scopes": list(opening(question.actor.scopes, question.resource, facts.model_role or None)),
            "client": question.actor.client_id,
            "categories": list(question.categories),
        },
    }


def _entities(question: PolicyQuestion) -> list[dict[str, Any]]:
    """Each entity once: two actions may have the same resource."""
    client = _uid("Client", question.actor.client_id)
    own, tenant = {"tenant": question.actor.tenant_id}, _tenant(question)
    resources = {uid["type"]: uid for uid in (_resource(question, action) for action in question.actions)}
    return [
        {"uid": client, "attrs": own, "parents": []},
        {"uid": _user(question), "attrs": own, "parents": [client]},
        *({"uid": uid, "attrs": {"tenant": tenant}, "parents": []} for uid in resources.values()),
    ]
