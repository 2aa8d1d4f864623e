"""A call that an operator makes by hand from a hotel's page: one GET to Cloudbeds, made as the proxy makes a program's:
its path policy, the rate limit, and a 401 healed. Reading only, and of a long answer only the beginning.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudbeds_auth.app.relaying import ProxiedCall, Relay, Relayed
from cloudbeds_auth.errors import Forbidden, InvalidRequest
from cloudbeds_auth.ports import REQUEST_ID
from cloudbeds_auth.rules import proxy_policy as policy
from cloudbeds_auth.rules.answer_words import answer_words
from cloudbeds_auth.rules.inputs import harmless
from cloudbeds_auth.rules.permissions import Caller, Scope

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

METHOD = "GET"
MOST_READ = 64 * 1024  # bytes of an answer
MOST_SHOWN = 128 * 1024  # characters; indented it is longer than it came
EXAMPLE_METHODS = ("userinfo", "getHotels", "getRooms", "getReservations")


@dataclass(frozen=True, slots=True)
class TriedCall:
    """What came back. `words`: what it means; `generation`: of the access token that was sent last, after `sends` in
    all; `cut`: the answer is longer than its beginning in `body`.
    """

    path: str
    status: int
    words: str
    seconds: float
    generation: int
    sends: int
    body: str
    cut: bool


class TryIt:
    """Makes them."""

    def __init__(self, vault: TokenVault, relay: Relay) -> None:
        self._relay = relay
        self._clock = vault.engine.world.clock
        self._base_url = vault.base_url
        self._version = vault.settings.api_version

    @property
    def examples(self) -> tuple[str, ...]:
        """Paths that need no parameter; the first is the article's protected call."""
        return tuple(f"/api/{self._version}/{name}" for name in EXAMPLE_METHODS)

    async def call(self, connection_id: str, asked: str, by: str, address: str) -> TriedCall:
        """Ask for a path of Cloudbeds, with its query, or for a method of its API by name.

        `by`: the session, which has its own share of the calls under way, and `address` its browser's: both are in the
        log, with the path. Raises InvalidRequest and Forbidden where the proxy would relay that for no caller with the
        scope `proxy`, and as `Relay.call` does.
        """
        path, query = self._judged(connection_id, asked)
        headers = [("accept", "application/json"), ("accept-encoding", "identity")]
        if (request_id := REQUEST_ID.get()) is not None:
            headers.append(("x-request-id", request_id))
        call = ProxiedCall(Caller(by, frozenset({Scope.PROXY})), by, METHOD, path, query, headers)
        begun = self._clock.steady()
        async with self._relay.shares.place(by):
            relayed = await self._relay.call(connection_id, call)
            body, whole = await relayed.read(MOST_READ)
        self._relay.report(connection_id, call, relayed, complete=whole, address=address, begun=begun)
        shown, complete = readable(body) if _is_plain(relayed) else ("", True)
        return TriedCall(
            path=call.target,
            status=relayed.answer.status,
            words=answer_words(relayed.answer.status, relayed.passing.refusal() if whole else None),
            seconds=self._clock.steady() - begun,
            generation=relayed.passed.token.generation,
            sends=relayed.sends,
            body=shown,
            cut=not (whole and complete),
        )

    def _judged(self, connection_id: str, asked: str) -> tuple[str, str]:
        """Path and query as they are sent."""
        typed = asked.strip().removeprefix(self._base_url)
        if not typed.startswith("/"):
            typed = f"/api/{self._version}/{typed}"
        try:
            raw_path, _, raw_query = typed.encode("ascii").partition(b"?")
        except UnicodeEncodeError:
            raise InvalidRequest(
                "the path holds letters that no address has", next_step="write them percent-encoded, as in %C3%A9"
            ) from None
        target = policy.upstream_path(policy.PREFIX + connection_id.encode() + raw_path)
        if policy.scope_for(target.path) is not Scope.PROXY:
            raise Forbidden(
                "this method of Cloudbeds changes the connection itself, or shows a secret: no page calls it",
                next_step="call it with `cloudbeds-auth call`",
            )
        return target.path, policy.query_of(raw_query)


def readable(body: bytes) -> tuple[str, bool]:
    """The body for people: JSON indented, anything else as it is; and whether that is all of it."""
    text = body.decode("utf-8", "replace")
    with suppress(ValueError, RecursionError):  # no JSON, or nested too deeply
        text = _indented(json.loads(text))
    return harmless(text[:MOST_SHOWN]), len(text) <= MOST_SHOWN


def _indented(document: object) -> str:
    """As JSON of many lines; no more than the beginning of what is too long: deep lists are mostly indentation."""
    shown = ""
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(document):
        shown += part
        if len(shown) > MOST_SHOWN:
            break
    return shown


def _is_plain(relayed: Relayed) -> bool:
    """Whether the body came as it was asked for, and not packed."""
    found = policy.header_in(relayed.answer.headers, b"content-encoding") or ""
    return found.strip().lower() in {"", "identity"}
