"""Two-key approvals: record what was proposed, approved or withdrawn."""

from __future__ import annotations

from temporalio import activity

from activities.errors import translate_errors
from domain.names import ActivityName
from domain.ports.two_key import TwoKeyStore
from domain.two_key import TwoKeyApprovalInput, TwoKeyInput, TwoKeyWithdrawalInput


class TwoKeyActivities:
    """What the workflows about two-key requests have done for them."""

    def __init__(self, store: TwoKeyStore) -> None:
        """`store` keeps the rows."""
        self._store = store

    @activity.defn(name=ActivityName.TWO_KEY_PROPOSE.value)
    async def propose(self, proposal: TwoKeyInput) -> None:
        """Records the request; a repeated attempt changes nothing."""
        with translate_errors():
            await self._store.propose(proposal)

    @activity.defn(name=ActivityName.TWO_KEY_APPROVE.value)
    async def approve(self, approval: TwoKeyApprovalInput) -> None:
        """Records one person's approval; a repeated attempt changes nothing."""
        with translate_errors():
            await self._store.approve(approval)

    @activity.defn(name=ActivityName.TWO_KEY_WITHDRAW.value)
    async def withdraw(self, withdrawal: TwoKeyWithdrawalInput) -> None:
        """Ends the request; a repeated attempt changes nothing."""
        with translate_errors():
            await self._store.withdraw(withdrawal)
