"""A model call from a workflow: one activity asks exactly one model, and falling back is another activity with its reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from temporalio import exceptions, workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType, is_cancelled_exception

from domain.errors import BudgetExhausted, ModelTimedOut
from domain.models import Candidate, SlmAnswer, SlmCall
from domain.names import ActivityName, Effect
from domain.routing import Failure, Reaction, Route, choose, reaction
from domain.sessions import TurnError
from domain.slm import PlanCall
from workflows.gate import Permit
from workflows.options import RECORD, model_call

_IN_THE_QUEUE = frozenset({TimeoutType.SCHEDULE_TO_START, TimeoutType.SCHEDULE_TO_CLOSE})

OnExhausted = Callable[[TurnError], Awaitable[bool]]
"""Asked when a budget has no room: True once it may be tried again."""


class ModelFailed(Exception):
    """No model answered; `error` is of the last one that was asked."""

    def __init__(self, error: TurnError) -> None:
        """`error` holds no text of the request."""
        super().__init__(error.detail)
        self.error = error


async def plan(call: PlanCall) -> Route:
    """The route of a call that belongs to a session or a project. Raises ModelFailed."""
    try:
        return await workflow.execute_local_activity(
            ActivityName.SLM_PLAN.value, call, result_type=Route, summary="Choose the model", **RECORD
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        raise ModelFailed(turn_error(error)) from None


async def call_model(
    permit: Permit,
    call: SlmCall,
    route: Route,
    *,
    activity: ActivityName = ActivityName.SLM_COMPLETE,
    on_exhausted: OnExhausted | None = None,
) -> SlmAnswer:
    """Asks the route's models in turn. Raises ModelFailed, and the cancellation of a call that is stopped."""
    failures: list[Failure] = []
    number = 0
    while (model := choose(route, tuple(failures))) is not None:
        last = _is_last(route, failures, model.candidate)
        asked = call.model_copy(
            update={
                "candidate": model.candidate,
                "number": number,
                "last": last,
                "forecast_tokens": route.forecast_tokens,
            }
        )
        number += 1
        try:
            return await permit.run(
                Effect.MODEL_CALL,
                activity,
                asked,
                SlmAnswer,
                model_call(lane=call.lane, tenant_id=call.actor.tenant_id, weight=route.fairness_weight, last=last),
                _summary(model.candidate, failures),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            failed = turn_error(error)
        if failed.type == BudgetExhausted.type and on_exhausted is not None and await on_exhausted(failed):
            continue
        failures.append(Failure(candidate=model.candidate, error_type=failed.type))
        if reaction(failed.type) is Reaction.STOP or choose(route, tuple(failures)) is None:
            raise ModelFailed(failed)
    raise ModelFailed(TurnError(type="unsupported-by-model", detail="No model of this role fits the request."))


def _is_last(route: Route, failures: list[Failure], candidate: Candidate) -> bool:
    """Whether no other model would be asked after this one."""
    after = (*failures, Failure(candidate=candidate, error_type=ModelTimedOut.type))
    return choose(route, after) is None


def _summary(candidate: Candidate, failures: list[Failure]) -> str:
    """What Temporal's UI shows: the model, and why it is not the first."""
    if not failures:
        return f"Ask {candidate}"
    return f"Ask {candidate} instead: {failures[-1].candidate} failed with {failures[-1].error_type}"


def turn_error(error: ActivityError) -> TurnError:
    """The cause's own type and sentence; an activity that timed out has neither, and nobody knows what became of its call."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ApplicationError | exceptions.TimeoutError):
        cause = cause.__cause__
    if isinstance(cause, ApplicationError) and cause.type:
        return TurnError(type=cause.type, detail=cause.message)
    waited = isinstance(cause, exceptions.TimeoutError) and cause.type in (
        TimeoutType.SCHEDULE_TO_START,
        TimeoutType.SCHEDULE_TO_CLOSE,
    )
    where = "The call waited too long for its turn" if waited else "The model did not answer in time"
    return TurnError(type=ModelTimedOut.type, detail=f"{where}; send it again.")
