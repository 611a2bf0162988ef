"""Ask the policies without doing anything: the request and answer of AuthZEN's Authorization API 1.0.

https://openid.net/specs/authorization-api-1_0.html, section 6. Only the policies are asked: identity, moderation and budgets are
not. Nothing is recorded.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Literal, Self

from pydantic import Field, Strict, StringConstraints, model_validator

from api.auth import ServicesDependency, require
from api.edge_types import LINE_PATTERN, CleanText, Name
from api.policy_texts import WhatIf, candidates
from api.problems import problems
from api.routing import edge_router
from domain.actors import Actor
from domain.base import Contract, Count, Sha256
from domain.constitution import Weights
from domain.decisions import Facts, Reason, Verdict
from domain.names import Effect, Scope
from domain.policy_sets import LayerVerdict, PolicyLayers
from domain.ports.policy import PolicyAnswer, PolicyEngine, PolicyQuestion
from domain.scoring import score

router = edge_router("policies")

_TYPES: Final = {Effect.MEMORY_RECALL: "memory", Effect.MEMORY_REMEMBER: "memory", Effect.MODEL_CALL: "model"}
_PERMITTED: Final = frozenset({Verdict.ALLOW, Verdict.WARN, Verdict.TRANSFORM})
_Scope = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,160}$")]
_Number = Annotated[Count, Strict()]
_Text = Annotated[
    CleanText,
    StringConstraints(max_length=200, pattern=r"^[^\n\t]*$"),
    Field(json_schema_extra={"pattern": LINE_PATTERN.removesuffix("+$") + "*$"}),
]


class NoProperties(Contract):
    """There are none that policies see."""


class SubjectProperties(Contract):
    """What a token would say; what is left out is the caller's own."""

    client_id: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")] | None = None
    scopes: tuple[_Scope, ...] | None = Field(default=None, max_length=100)


class Subject(Contract):
    """Who asks."""

    type: Literal["user"] = Field(examples=["user"])
    id: Name = Field(description="The subject of a token.", examples=["alice"])
    properties: SubjectProperties = SubjectProperties()


class Action(Contract):
    """What is asked for."""

    name: Effect = Field(examples=["session:start"])
    properties: NoProperties = NoProperties()


class Resource(Contract):
    """On what. Sessions have `session:start` and `turn:answer`, memory its two actions; a model is named by its role."""

    type: Literal["session", "memory", "model"] = Field(examples=["session"])
    id: Name = Field(examples=["ses_0192f0c0d5a07c3e8f6f0e1b2c3d4e5f"])
    properties: NoProperties = NoProperties()


class Context(Contract):
    """The facts that policies see. `score` is computed from the others where it is left out."""

    text_bytes: _Number = 0
    documents: _Number = 0
    document_bytes: _Number = 0
    turn: _Number = 0
    persona: _Text = ""
    model_role: _Text | None = Field(default=None, description="`dialogue_reasoning` where it is left out.")
    region: _Text | None = Field(default=None, description="The gateway's where it is left out.")
    categories: tuple[_Text, ...] = Field(default=(), max_length=50, description="Of what moderation found.")
    score: Annotated[int, Strict(), Field(ge=0, le=1000)] | None = None


class EvaluationBody(Contract):
    """One question, and policies to ask beside those in force."""

    subject: Subject
    action: Action
    resource: Resource
    context: Context = Context()
    what_if: WhatIf | None = None

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        wanted = _TYPES.get(self.action.name, "session")
        if self.resource.type != wanted:
            raise ValueError(f"The resource of {self.action.name.value} is of type {wanted}")
        if wanted == "model" and self.context.model_role not in (None, self.resource.id):
            raise ValueError("A model is named by its role: leave `context.model_role` out")
        return self


class Explanation(Contract):
    """Why. `layers` says what each layer said by itself, and which of its policies determined that; `transform` what would be
    done to the text. The digests are of the policies asked, the tenant's null where it has none in force."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    transform: str | None
    layers: tuple[LayerVerdict, ...]
    policy_digest: Sha256
    tenant_policy_digest: Sha256 | None


class WhatIfAnswer(Contract):
    """The answer by the candidate policies."""

    decision: bool
    context: Explanation


class EvaluationContext(Explanation):
    """As for the policies in force, with the constitution, the score, and what the candidates would answer."""

    constitution_hash: Sha256
    score: int
    what_if: WhatIfAnswer | None = None


class Evaluation(Contract):
    """`decision` is true where the action may be done now; what waits for an approver may not."""

    decision: bool
    context: EvaluationContext


@router.post("/v1/policy/evaluate", summary="Evaluate policies", responses=problems(400, 401, 403, 413, 415, 422, 429, 503))
async def evaluate(
    body: EvaluationBody, services: ServicesDependency, actor: Annotated[Actor, require(Scope.POLICY_READ)]
) -> Evaluation:
    """What the policies answer, and why. Shaped like AuthZEN's Authorization API 1.0; nothing is done or recorded."""
    constitution = await services.constitution.current()
    own = await services.policies.active.current(actor.tenant_id)
    layers = PolicyLayers(constitution=constitution.document.policies, tenant=own.text if own else None)
    asked = _question(body, actor, services.settings.region, constitution.document.weights)
    engine, others = services.policies.engine, await candidates(services, body.what_if)
    answer = await asyncio.to_thread(engine.evaluate, layers, asked)
    beside = None
    if body.what_if is not None:
        replaced = others.replacing(layers)
        said = await asyncio.to_thread(engine.evaluate, replaced, asked)
        beside = WhatIfAnswer(decision=said.verdict in _PERMITTED, context=_explained(said, replaced, engine))
    context = EvaluationContext(
        **dict(_explained(answer, layers, engine)), constitution_hash=constitution.hash, score=asked.score, what_if=beside
    )
    return Evaluation(decision=answer.verdict in _PERMITTED, context=context)


def _question(body: EvaluationBody, actor: Actor, region: str, weights: Weights) -> PolicyQuestion:
    """As the gate would ask about somebody of the caller's tenant."""
    given, said = body.context, body.subject.properties
    role = body.resource.id if body.resource.type == "model" else given.model_role or "dialogue_reasoning"
    facts = Facts(
        text_bytes=given.text_bytes,
        documents=given.documents,
        document_bytes=given.document_bytes,
        turn=given.turn,
        persona=given.persona,
        model_role=role,
    )
    return PolicyQuestion(
        actor=Actor(
            tenant_id=actor.tenant_id,
            subject=body.subject.id,
            client_id=said.client_id if said.client_id is not None else actor.client_id,
            scopes=said.scopes if said.scopes is not None else actor.scopes,
            jti=actor.jti,
        ),
        actions=(body.action.name.value,),
        resource=body.resource.id,
        facts=facts,
        score=given.score if given.score is not None else score(facts, weights, 0),
        region=given.region if given.region is not None else region,
        categories=tuple(sorted(set(given.categories))),
    )


def _explained(answer: PolicyAnswer, layers: PolicyLayers, engine: PolicyEngine) -> Explanation:
    return Explanation(
        verdict=answer.verdict,
        reasons=answer.reasons,
        transform=answer.transform,
        layers=answer.layers,
        policy_digest=engine.digest(layers.constitution),
        tenant_policy_digest=engine.digest(layers.tenant) if layers.tenant is not None else None,
    )
