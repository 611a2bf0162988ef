"""The one way to schedule an effect: a Permit, made from a recorded decision that covers it.

The checks themselves run in local activities (`session.open`, `turn.open`), which ask the gate and record its decision.
A workflow without a permit for an effect cannot schedule it: `Permit.run` raises, and the turn fails visibly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from temporalio import workflow

from domain.actors import Actor
from domain.blobs import BlobRef
from domain.decisions import Decision, Facts, GateRequest, Verdict
from domain.errors import Denied
from domain.ids import Prefix, format_id
from domain.names import ActivityName, Effect, SearchAttribute
from workflows.options import SEARCH_ATTRIBUTES, ActivityOptions

Result = TypeVar("Result")

_RUNS = frozenset({Verdict.ALLOW, Verdict.WARN, Verdict.TRANSFORM})


def new_id(prefix: Prefix) -> str:
    """A fresh id, the same again on replay."""
    return format_id(prefix, workflow.uuid7())


def ask(
    actor: Actor,
    *,
    step_key: str,
    effects: tuple[Effect, ...],
    resource: str,
    text: BlobRef | None,
    facts: Facts,
    region: str,
) -> GateRequest:
    """The question to the gate about a step of the running workflow, at the workflow's time."""
    return GateRequest(
        actor=actor,
        workflow_id=workflow.info().workflow_id,
        step_key=step_key,
        effects=effects,
        resource=resource,
        text=text,
        facts=facts,
        region=region,
        at=workflow.now(),
    )


def show_verdict(verdict: Verdict) -> None:
    """Makes the run findable by its verdict, when that is not simply `allow`."""
    if verdict is not Verdict.ALLOW:
        workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]
            [SEARCH_ATTRIBUTES[SearchAttribute.VERDICT].value_set(verdict.value)]
        )


@dataclass(frozen=True)
class Permit:
    """What a decision allows. `text` is the only text the effects may use: the transformed one where there is one."""

    decision: Decision
    effects: frozenset[Effect]
    text: BlobRef

    @classmethod
    def of(cls, decision: Decision, effects: tuple[Effect, ...], text: BlobRef, *, approved: bool = False) -> Permit:
        """A permit from a decision. Raises Denied unless it allows, or an approver has."""
        if decision.verdict not in _RUNS and not (approved and decision.verdict is Verdict.ESCALATE):
            raise Denied("The gate did not allow this.")
        return cls(decision, frozenset(effects), decision.transformed or text)

    async def run(
        self, effect: Effect, activity: ActivityName, arg: Any, result: type[Result], options: ActivityOptions, summary: str
    ) -> Result:
        """Schedules an activity that has this effect. Raises Denied when the decision did not cover it."""
        if effect not in self.effects:
            raise Denied(f"The decision does not cover {effect.value}.")
        return await workflow.execute_activity(activity.value, arg, result_type=result, summary=summary, **options)
