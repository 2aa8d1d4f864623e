"""What every hotel of a vendor answers in tests that are about other things: its approver is an owner, and it has no
subscriptions.
"""

from __future__ import annotations

from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import VendorSubscription, Wanted


class QuietHotels:
    """The part of Cloudbeds' API that risks and subscriptions ask."""

    async def roles(self, access: Secret) -> tuple[str, ...]:
        return ("Owner",)

    async def subscriptions(self, access: Secret, property_id: str | None) -> list[VendorSubscription]:
        return []

    async def subscribe(self, access: Secret, wanted: Wanted, property_id: str | None) -> str:
        return "1"

    async def unsubscribe(self, access: Secret, subscription_id: str, property_id: str | None) -> None:
        return None
