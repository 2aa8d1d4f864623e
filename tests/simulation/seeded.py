"""Seeded bugs of the protocol and the wire: each replaces one attribute for as long as a `Patch` lasts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from types import FunctionType, SimpleNamespace
from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine import candidates as candidates_module
from cloudbeds_auth.engine import commit as commit_module
from cloudbeds_auth.engine import refresh as refresh_module
from cloudbeds_auth.engine import sending, tasks
from cloudbeds_auth.engine import single_flight as flight_module
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules import api_errors
from cloudbeds_auth.rules.api_errors import Proof
from cloudbeds_auth.rules.refresh import Next
from cloudbeds_auth.rules.token_response import Ambiguous, Refused, RefusedClient
from cloudbeds_auth.transactions import refusals
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.grants import Written
from cloudbeds_auth.transactions.refusals import Counted
from cloudbeds_auth.wire import cloudbeds_api as vendor_module
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire import token_endpoint as endpoint_module


def nothing(patch: Patch) -> None:
    """The code as it is; the world is what is wrong."""


def use_before_commit(patch: Patch) -> None:
    sound = patch.of(commit_module.Committer, "_write")

    async def write(self: Any, lease: Any, row: Any, hand: Any, chosen: Any) -> Any:
        await self._world.vendor.userinfo(hand.pair.access)
        return await sound(self, lease, row, hand, chosen)

    patch.put(commit_module.Committer, "_write", write)


def discard_at_epoch_change(patch: Patch) -> None:
    sound = patch.of(commit_module.Committer, "_write")

    async def write(self: Any, lease: Any, row: Any, hand: Any, chosen: Any) -> Any:
        written = await sound(self, lease, row, hand, chosen)
        return Written.GENERATION_MOVED if written is Written.EPOCH_MOVED else written

    patch.put(commit_module.Committer, "_write", write)


def one_failure_is_retried(patch: Patch) -> None:
    async def once(world: Any, connection_id: str, attempt: Any) -> Any:
        while True:
            with suppress(StoreUnavailable):
                return await attempt()
            await world.clock.sleep(1.0)

    patch.put(commit_module, "until_stored", once)


def parent_first(patch: Patch) -> None:
    sound = patch.of(sending, "candidates")
    patch.put(sending, "candidates", lambda tokens: sound(tokens)[::-1])


def not_found_is_proof(patch: Patch) -> None:
    sound = patch.of(vendor_module, "judge_userinfo")
    patch.put(vendor_module, "judge_userinfo", lambda status, *rest: Proof() if status == 404 else sound(status, *rest))


def prune_before_proof(patch: Patch) -> None:
    sound = patch.of(commit_module.Committer, "_publish")

    async def publish(self: Any, flight: Any, stored: Any, chosen: Any) -> Any:
        await self.confirm(stored)
        return await sound(self, flight, stored, chosen)

    patch.put(commit_module.Committer, "_publish", publish)


def no_probe(patch: Patch) -> None:
    sound = patch.of(refresh_module, "decide")

    def decide(*parts: Any) -> Next:
        step: Next = sound(*parts)
        return Next.SEND if step is Next.PROBE else step

    patch.put(refresh_module, "decide", decide)


def ambiguous_falls_through(patch: Patch) -> None:
    sound = patch.of(sending.Sender, "_settle")

    async def settle(self: Any, at: Any, fence: Any, row: Any, answer: Any) -> Any:
        return None if isinstance(answer, Ambiguous) else await sound(self, at, fence, row, answer)

    patch.put(sending.Sender, "_settle", settle)


def no_reread(patch: Patch) -> None:
    sound = patch.of(sending.Sender, "_settle")
    counted = patch.of(refusals, "count_refusal")

    async def settle(self: Any, at: Any, fence: Any, row: Any, answer: Any) -> Any:
        ended = await sound(self, at, fence, row, answer)
        return None if isinstance(answer, Refused) else ended

    def count(tx: Any, *parts: Any, **more: Any) -> Any:
        found = yield from counted(*parts, **more)(tx)
        return Counted.MARKED if found is Counted.MOVED else found

    patch.put(sending.Sender, "_settle", settle)
    patch.put_transaction(refusals, "count_refusal", count)


def waiter_cancels_leader(patch: Patch) -> None:
    sound = patch.of(flight_module.Flights, "ask")

    async def ask(self: Any, asked: Any) -> Any:
        try:
            return await sound(self, asked)
        except asyncio.CancelledError:
            running = self.running(asked.grant_id)
            if running is not None:
                running.task.cancel()
            raise

    async def share(self: Any, name: str, work: Any) -> Any:
        return await work()  # in the task of each caller, whose cancellation reaches it there

    patch.put(flight_module.Flights, "ask", ask)
    patch.put(tasks.Tasks, "share", share)


def socket_left_open(patch: Patch) -> None:
    sound = patch.of(http_client, "ask")

    async def ask(timing: Any, *where: Any, **how: Any) -> Any:
        going = asyncio.ensure_future(sound(replace(timing, deadline=1e5), *where, **how))
        async with asyncio.timeout(timing.deadline):
            return await asyncio.shield(going)

    patch.put(http_client, "ask", ask)


def network_in_transaction(patch: Patch) -> None:
    sound = patch.of(commit_module.Committer, "_write")

    async def write(self: Any, lease: Any, row: Any, hand: Any, chosen: Any) -> Any:
        connection = self._world.db._driver.file._connection
        connection.execute("BEGIN")
        try:
            await self._world.vendor.userinfo(row.access)
        finally:
            with suppress(Exception):
                connection.execute("ROLLBACK")
        return await sound(self, lease, row, hand, chosen)

    patch.put(commit_module.Committer, "_write", write)


def pointer_first(patch: Patch) -> None:
    sound = patch.of(candidates_module.Candidates, "resume")

    async def resume(self: Any, connection_id: str) -> Any:
        waiting = await self._world.db.read(read_candidate(connection_id))
        if waiting is not None:
            with suppress(Exception):
                return await self._promote(waiting, Proof())
        return await sound(self, connection_id)

    patch.of(candidates_module.Candidates, "_promote")
    patch.put(candidates_module.Candidates, "resume", resume)


def secret_reset_marks(patch: Patch) -> None:
    sound = patch.of(endpoint_module, "classify")

    def classify(*parts: Any, **more: Any) -> Any:
        answer = sound(*parts, **more)
        return Refused(answer.reason) if isinstance(answer, RefusedClient) else answer

    patch.put(endpoint_module, "classify", classify)


def success_false_ignored(patch: Patch) -> None:
    patch.put(api_errors, "says_false", lambda value: False)


def kept_connections_of_proofs(patch: Patch) -> None:
    _kept_connections(patch, vendor_module)


def kept_connections_of_tokens(patch: Patch) -> None:
    _kept_connections(patch, endpoint_module)


def _kept_connections(patch: Patch, module: Any) -> None:
    """The policy as this one module sees it keeps the connection of every request."""
    sound, seen = patch.of(http_client, "ask"), SimpleNamespace(**vars(http_client))

    def client(timing: Any, transport: Any, *, keep_alive: int) -> Any:
        return http_client.client(timing, transport, keep_alive=keep_alive + 4)

    seen.ask = FunctionType(sound.__code__, {**vars(http_client), "client": client})
    seen.ask.__kwdefaults__ = sound.__kwdefaults__
    patch.put(module, "http_client", seen)
