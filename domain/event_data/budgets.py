"""Events of budgets and of models they no longer pay for."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count
from domain.budgets import BudgetScope
from domain.event_data.base import EventData
from domain.ids import BudgetId
from domain.names import EventType, Topic


class OfBudget(EventData):
    """An event on a budget; its subject is the budget's id. Amounts are in `unit`: tokens, or micro-units of a currency."""

    topic: ClassVar[Topic] = Topic.BUDGET_EVENTS

    budget_id: BudgetId
    scope: BudgetScope
    scope_id: str
    unit: str
    cap: Count

    @property
    def about(self) -> str:
        return self.budget_id


class BudgetSet(OfBudget):
    """A budget was made, or its cap changed."""

    event_type: ClassVar[EventType] = EventType.BUDGET_SET

    subject: str


class BudgetAlerted(OfBudget):
    """Four fifths of a budget are settled or reserved. Told once for each cap."""

    event_type: ClassVar[EventType] = EventType.BUDGET_ALERTED

    settled: Count
    reserved: Count


class BudgetExhausted(OfBudget):
    """A call was refused because its bound had no room. Told once for each cap."""

    event_type: ClassVar[EventType] = EventType.BUDGET_EXHAUSTED

    settled: Count
    reserved: Count
    wanted: Count


class BudgetOverrun(OfBudget):
    """A provider used more than the bound of a call. `uncovered` is what the cap had no room for."""

    event_type: ClassVar[EventType] = EventType.BUDGET_OVERRUN

    provider: str
    model: str
    workflow_id: str
    overrun: Count
    uncovered: Count


class ModelReviewed(EventData):
    """Somebody has looked at a model's overrun; bounded budgets pay for it again. Its subject is `provider/model`."""

    event_type: ClassVar[EventType] = EventType.MODEL_REVIEWED
    topic: ClassVar[Topic] = Topic.BUDGET_EVENTS

    provider: str
    model: str
    reviewer: str

    @property
    def about(self) -> str:
        return f"{self.provider}/{self.model}"


EVENTS: Final = (
    BudgetSet,
    BudgetAlerted,
    BudgetExhausted,
    BudgetOverrun,
    ModelReviewed,
)
