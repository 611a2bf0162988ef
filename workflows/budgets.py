"""Caps, reviews and the ledger's upkeep, each as a short run of its own."""

from __future__ import annotations

from temporalio import workflow

from domain.budgets import Budget, ReviewModel, SetBudget, SweepCall, SweepOutcome
from domain.names import ActivityName, WorkflowName
from domain.reconciling import ReconcileCall, Reconciled
from workflows.options import LEDGER, WRITE


@workflow.defn(name=WorkflowName.BUDGET_SET.value)
class BudgetSetWorkflow:
    """Makes a budget or changes its cap."""

    @workflow.run
    async def run(self, change: SetBudget) -> Budget:
        """Fails as `conflict` when more than the new cap is bound."""
        return await workflow.execute_activity(
            ActivityName.BUDGET_SET.value, change, result_type=Budget, summary="Set the budget", **WRITE
        )


@workflow.defn(name=WorkflowName.MODEL_REVIEW.value)
class ModelReviewWorkflow:
    """Lets bounded budgets pay for a model again."""

    @workflow.run
    async def run(self, review: ReviewModel) -> None:
        """Fails as `not-found` when nothing blocks the model."""
        await workflow.execute_activity(ActivityName.MODEL_REVIEW.value, review, summary="Review the model", **WRITE)


@workflow.defn(name=WorkflowName.LEDGER_SWEEP.value)
class LedgerSweepWorkflow:
    """Bills what dead workers held. Started by its schedule."""

    @workflow.run
    async def run(self, call: SweepCall) -> SweepOutcome:
        """Ends once every overdue reservation it saw is billed."""
        return await workflow.execute_activity(
            ActivityName.LEDGER_SWEEP.value, call, result_type=SweepOutcome, summary="Bill overdue reservations", **LEDGER
        )


@workflow.defn(name=WorkflowName.LEDGER_RECONCILE.value)
class LedgerReconcileWorkflow:
    """Settles attempts by a vendor's usage report."""

    @workflow.run
    async def run(self, call: ReconcileCall) -> Reconciled:
        """Ends once every line is accounted for."""
        return await workflow.execute_activity(
            ActivityName.LEDGER_RECONCILE.value, call, result_type=Reconciled, summary="Reconcile with the report", **LEDGER
        )
