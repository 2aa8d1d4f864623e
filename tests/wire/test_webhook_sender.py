"""Webhooks out on the wire: signed as Standard Webhooks says, and whatever a receiver does is an outcome."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from tests.wire.rawserver import Peer, Respond, answer, raw, reset, serving

from cloudbeds_auth.ports import Deliverer, Delivery, Message
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.wire.webhook_sender import HttpDeliverer

OLD, NEW = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "whsec_c2Vjb25kLXNlY29uZC1zZWNvbmQtc2Vjb25k"
MESSAGE = Message("msg_1", "con_1", "connection.connected", '{"type":"connection.connected"}', 0)


async def delivered(*respond: Respond, secrets: tuple[str, ...] = (OLD,)) -> tuple[Delivery, Peer]:
    """How the first attempt ended, and what the receiver got."""
    async with serving(*respond) as server:
        made: Deliverer = HttpDeliverer(f"{server.url}/hook?key=1", [Secret(one) for one in secrets], SystemClock())
        outcome = await made.deliver(MESSAGE)
        assert len(server.peers) == 1, "one request an attempt"
        return outcome, server.peers[0]


async def test_a_receiver_verifies_it_with_the_specifications_own_library() -> None:
    """Headers, body, signature, a moment of now; nothing else of ours is told."""
    outcome, peer = await delivered(answer("{}"))
    assert outcome == Delivery()
    assert peer.line == "POST /hook?key=1"
    assert Webhook(OLD).verify(peer.body, peer.head) == {"type": "connection.connected"}
    assert peer.head["webhook-id"] == "msg_1"
    assert abs(int(peer.head["webhook-timestamp"]) - time.time()) < 60
    assert peer.head["content-type"] == "application/json"
    assert not {"authorization", "cookie"} & peer.head.keys()


async def test_the_signature_is_the_specifications_formula() -> None:
    """`v1,` and base64 of HMAC-SHA256 over id, timestamp and body, with the decoded secret as key."""
    _, peer = await delivered(answer("{}"))
    signed = f"msg_1.{peer.head['webhook-timestamp']}.{MESSAGE.body}".encode()
    key = base64.b64decode(OLD.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert peer.head["webhook-signature"] == f"v1,{expected}"


async def test_while_a_secret_is_replaced_either_verifies() -> None:
    """A signature by each; a third secret verifies nothing."""
    _, peer = await delivered(answer("{}"), secrets=(NEW, OLD))
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(peer.body, peer.head)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_dGhpcmQtdGhpcmQtdGhpcmQtdGhpcmQtdGhpcmQ=").verify(peer.body, peer.head)


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted", "204 No Content"])
async def test_any_2xx_is_taken(status: str) -> None:
    """Whatever the body says, and however much of it would come: it is not read."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: 999999999999\r\nContent-Encoding: gzip\r\n\r\n"
    outcome, _ = await delivered(raw(head.encode() + b"\xff" * 1000))
    assert outcome == Delivery()


@pytest.mark.parametrize(
    ("status", "head", "expected"),
    [
        ("500 Internal Server Error", "", Delivery("HTTP 500")),
        ("302 Found", "Location: http://127.0.0.1:1/elsewhere\r\n", Delivery("HTTP 302")),
        ("429 Too Many Requests", "Retry-After: 120\r\n", Delivery("HTTP 429", 120.0)),
        ("503 Service Unavailable", "Retry-After: 9999999\r\n", Delivery("HTTP 503", 9999999.0)),
        ("410 Gone", "", Delivery("HTTP 410", final=True)),
    ],
)
async def test_anything_else_is_not(status: str, head: str, expected: Delivery) -> None:
    """A redirect is not followed; `Retry-After` is told; 410 is the last word about this message."""
    outcome, _ = await delivered(raw(f"HTTP/1.1 {status}\r\n{head}Content-Length: 0\r\n\r\n".encode()))
    assert outcome == expected


async def test_no_answer() -> None:
    """A receiver that hangs up, or that is not there, took nothing."""
    outcome, _ = await delivered(reset)
    assert (outcome.problem or "").startswith("no answer (")
    away = HttpDeliverer("http://127.0.0.1:1/hook", [Secret(OLD)], SystemClock())
    assert (await away.deliver(MESSAGE)).problem == "no answer (ConnectError)"
