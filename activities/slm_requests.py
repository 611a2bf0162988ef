"""Model requests: decide, plan, record the end. Local activities, each of one transaction."""

from __future__ import annotations

from typing import Final

from temporalio import activity

from activities.errors import translate_errors
from activities.gate import Gate
from activities.undecided import UndecidedSteps
from domain import fairness
from domain.bounds import rough_bound
from domain.catalogue import Catalogue
from domain.decisions import Decision, GateRequest, Verdict
from domain.errors import Denied, DependencyUnavailable, DomainError
from domain.fitness import Wanted, judged, profile, require_fit
from domain.forecasts import forecast
from domain.models import Capability
from domain.names import ActivityName
from domain.ports.models import Breakers, Prices
from domain.ports.slm import Forecasts, SlmRequestStore
from domain.routing import Route
from domain.sessions import TurnError
from domain.slm import CloseSlmCall, OpenedSlm, OpenSlmCall, PlanCall, SlmMove, SlmRequestInput, SlmStatus

_HELD_BACK: Final = TurnError(type=Denied.type, detail="The gate withheld the answer; see the decision's reasons.")


class ModelPlanner:
    """Makes the route of a call: which models fit, what it will use, what share of a busy queue it gets."""

    def __init__(self, *, catalogue: Catalogue, prices: Prices, breakers: Breakers, forecasts: Forecasts, mode: str) -> None:
        """`mode` is the deployment mode."""
        self._catalogue, self._prices, self._breakers = catalogue, prices, breakers
        self._forecasts, self._mode = forecasts, mode

    async def route(self, call: PlanCall) -> Route:
        """The route. Raises UnknownModel, UnsupportedByModel."""
        tenant_id = call.actor.tenant_id
        config = profile(self._catalogue, call.role, call.model, tenant_id, self._mode)
        history = await self._forecasts.history(tenant_id, call.role)
        sizes = forecast(history.calls, rough_bound(call.input_bytes, call.messages, call.images), call.max_output_tokens)
        wanted = Wanted(frozenset(map(Capability, call.needs)), sizes.input_tokens)
        models = judged(self._catalogue, config, self._prices, wanted)
        require_fit(models, wanted)
        known = {name: await self._breakers.is_open(name) for name in {model.candidate.provider for model in models}}
        charged = await self._forecasts.charge(tenant_id, sizes.tokens, history.carried)
        return Route(
            models=tuple(model.model_copy(update={"open": known[model.candidate.provider]}) for model in models),
            forecast_tokens=sizes.tokens,
            input_tokens=sizes.input_tokens,
            fairness_weight=fairness.weight(self._catalogue.weight(tenant_id), charged),
        )


class SlmRequestActivities:
    """What a model request's workflow has done for it, and a session's before it calls a model."""

    def __init__(
        self, *, gate: Gate, planner: ModelPlanner, store: SlmRequestStore, undecided: UndecidedSteps | None = None
    ) -> None:
        """`undecided` says how long checks may fail before that is a denial."""
        self._gate, self._planner, self._store = gate, planner, store
        self._undecided = undecided or UndecidedSteps()

    @activity.defn(name=ActivityName.SLM_PLAN.value)
    async def plan(self, call: PlanCall) -> Route:
        """The route of a call. Fails as `unknown-model` or `unsupported-by-model`."""
        with translate_errors():
            return await self._planner.route(call)

    @activity.defn(name=ActivityName.SLM_OPEN.value)
    async def open(self, call: OpenSlmCall) -> OpenedSlm:
        """Decides on a request, plans it, and records both."""
        with translate_errors():
            route, error = await self._route(call.input)
            settled = await self._settled(call.request)
            if settled is None:
                decision, snapshot = await self._gate.decide(call.request, call.decision_id)
                self._undecided.settle(call.request, decision)
                run_id = activity.info().workflow_run_id or ""
                forecasted = route.forecast_tokens if route else 0
                settled = await self._store.open(call.input, run_id, call.request, decision, snapshot, forecasted)
            return OpenedSlm(decision=settled, route=route, error=error)

    @activity.defn(name=ActivityName.SLM_MOVE.value)
    async def move(self, call: SlmMove) -> None:
        """Records that a request waits or runs."""
        with translate_errors():
            await self._store.move(call.tenant_id, call.request_id, call.status)

    @activity.defn(name=ActivityName.SLM_CLOSE.value)
    async def close(self, call: CloseSlmCall) -> SlmStatus:
        """Reviews the answer where there is one, and records how the request ended: an answer is seen by nobody before."""
        with translate_errors():
            if call.review is None or call.decision_id is None or call.answer is None:
                return await self._store.close(call.tenant_id, call.request_id, call.status, call.answer, call.error)
            decision = await self._settled(call.review)
            if decision is None:
                decision, snapshot = await self._gate.review_output(call.review, call.decision_id)
                self._undecided.settle(call.review, decision)
                decision = await self._store.review(call.review, decision, snapshot)
            # A transformed message with tool calls cannot be taken apart again, so it is withheld as well.
            broken = decision.transformed is not None and call.answer.message is not None
            if broken or decision.verdict in (Verdict.DENY, Verdict.ESCALATE):
                held = call.answer.model_copy(update={"message": None, "finish_reason": "content_filter"})
                return await self._store.close(call.tenant_id, call.request_id, SlmStatus.DENIED, held, _HELD_BACK)
            answer = call.answer
            if decision.transformed is not None:
                answer = answer.model_copy(update={"reply": decision.transformed})
            return await self._store.close(call.tenant_id, call.request_id, call.status, answer, call.error)

    async def _route(self, asked: SlmRequestInput) -> tuple[Route | None, TurnError | None]:
        plan = PlanCall(
            actor=asked.actor,
            role=asked.role,
            model=asked.model,
            input_bytes=asked.text.size,
            messages=asked.messages,
            images=asked.images,
            needs=asked.needs,
            max_output_tokens=asked.max_output_tokens,
            lane=asked.lane,
            region=asked.region,
        )
        try:
            return await self._planner.route(plan), None
        except DependencyUnavailable:
            raise
        except DomainError as error:
            return None, TurnError(type=error.type, detail=error.detail)

    async def _settled(self, request: GateRequest) -> Decision | None:
        if activity.info().attempt == 1:
            return None
        try:
            return await self._store.decision(request.actor.tenant_id, request.workflow_id, request.step_key)
        except DependencyUnavailable:
            self._undecided.interrupted(request)
            raise
