"""Outgoing webhooks over HTTP: one POST per attempt, signed by Standard Webhooks (https://www.standardwebhooks.com).

Of the policy for the vendor, only the general part applies (`http_client`): no redirect is followed, only the head of
the answer is read, and the receiver has ten seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from standardwebhooks import Webhook

from cloudbeds_auth.ports import Clock, Delivery, Message
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.rate_limit import seconds_of
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.wire import http_client

TIMING = replace(Timing(), deadline=10.0)  # seconds of one attempt
GONE = 410  # the receiver no longer wants the message: it is not sent again


class HttpDeliverer:
    """ports.Deliverer to `url`. Each of the `secrets` signs, so that one can replace another."""

    def __init__(self, url: str, secrets: Sequence[Secret], clock: Clock) -> None:
        self._url = url
        self._signers = [Webhook(secret.reveal()) for secret in secrets]
        self._clock = clock

    async def deliver(self, message: Message) -> Delivery:
        """See ports. The time in the signature is that of this attempt, the one in the body that of the change."""
        try:
            head = await http_client.ask(
                TIMING, None, "POST", self._url, headers=self._headers(message), content=message.body, limit=None
            )
        except Exception as error:  # noqa: BLE001  # after any error, the message was not taken
            return Delivery(f"no answer ({type(error).__name__})")
        if 200 <= head.status < 300:
            return Delivery()
        wait = seconds_of(head.headers.get("retry-after"), head.headers.get("date"))
        return Delivery(f"HTTP {head.status}", wait, final=head.status == GONE)

    def _headers(self, message: Message) -> dict[str, str]:
        sent_at = moment(int(self._clock.wall()))
        signatures = [signer.sign(message.id, sent_at, message.body) for signer in self._signers]
        return {
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
