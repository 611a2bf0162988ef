"""Budgets: set a cap, review a model, bill what dead workers held, reconcile with a vendor's report."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.budgets import Budget, ReviewModel, SetBudget, SweepCall, SweepOutcome
from domain.models import Candidate
from domain.names import ActivityName
from domain.ports.blobs import BlobStore
from domain.ports.budgets import BudgetStore, Ledger
from domain.ports.models import Prices
from domain.prices import cost
from domain.reconciling import NAMED, Attempt, ReconcileCall, Reconciled, UsageReport, VendorUsage, explain


class BudgetActivities:
    """What the workflows of budgets have done for them."""

    def __init__(self, *, budgets: BudgetStore, ledger: Ledger, blobs: BlobStore, prices: Prices) -> None:
        """`blobs` hold the reports; `prices` say what a report's tokens cost where it names no money."""
        self._budgets, self._ledger, self._blobs, self._prices = budgets, ledger, blobs, prices

    @activity.defn(name=ActivityName.BUDGET_SET.value)
    async def set(self, change: SetBudget) -> Budget:
        """Makes the budget or changes its cap. Fails as `conflict` when more than the cap is bound."""
        with translate_errors():
            return await self._budgets.set(change)

    @activity.defn(name=ActivityName.MODEL_REVIEW.value)
    async def review(self, review: ReviewModel) -> None:
        """Ends a model's block. Fails as `not-found` when there never was one."""
        with translate_errors():
            await self._budgets.review(review)

    @activity.defn(name=ActivityName.LEDGER_SWEEP.value)
    async def sweep(self, call: SweepCall) -> SweepOutcome:
        """Bills overdue reservations at their bound. What it does not come to, the next run does."""
        unknown = 0
        with translate_errors():
            tenants = await self._ledger.overdue_tenants(call.tenants)
            for tenant_id in tenants:
                unknown += await self._ledger.sweep(tenant_id, call.reservations)
                activity.heartbeat()
        return SweepOutcome(tenants=len(tenants), unknown=unknown)

    @activity.defn(name=ActivityName.LEDGER_RECONCILE.value)
    async def reconcile(self, call: ReconcileCall) -> Reconciled:
        """Settles what the report lists and releases what it does not; says what it would do when it is a dry run.

        A repeated attempt goes on where the former one ended, and counts from there.
        """
        tenant_id = call.actor.tenant_id
        with translate_errors():
            report = UsageReport.model_validate_json(await self._blobs.get(tenant_id, call.report.sha256))
            keys = {line.idempotency_key for line in report.lines}
            attempts = await self._ledger.attempts(tenant_id, call.provider, sorted(keys), call.since, call.until)
            found = explain(report.lines, attempts, call.since, call.until)
            settled, absent = len(found.settle), len(found.release)
            if not call.dry_run:
                settled = await self._each(tenant_id, [(each, self._priced(each, line)) for each, line in found.settle])
                absent = await self._each(tenant_id, [(each, None) for each in found.release])
        return Reconciled(
            lines=len(report.lines),
            settled=settled,
            absent=absent,
            unmatched=len(found.unexplained),
            unexplained=tuple(found.unexplained[:NAMED]),
            dry_run=call.dry_run,
        )

    async def _each(self, tenant_id: str, changes: list[tuple[Attempt, VendorUsage | None]]) -> int:
        changed = 0
        for attempt, usage in changes:
            changed += await self._ledger.reconcile(tenant_id, attempt, usage)
            activity.heartbeat()
        return changed

    def _priced(self, attempt: Attempt, line: VendorUsage) -> VendorUsage:
        if line.micros is not None:
            return line
        priced = self._prices.find(Candidate(provider=attempt.provider, model=attempt.model), line.input_tokens)
        if priced is None or priced.price.currency != attempt.currency:
            return line
        return line.model_copy(update={"micros": cost(priced.price, line.input_tokens, line.output_tokens)})
