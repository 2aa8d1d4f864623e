"""Spans for OpenTelemetry: one for each proxied call, token request and proof, in the caller's trace.

The only module that imports OpenTelemetry, whose API comes with the `otel` extra; the program has set a tracer provider
before. A span is created when its event is reported, with the time at which the call began. No name or attribute
contains a secret, hotel, path or address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import context, propagate, trace

from cloudbeds_auth.ports import Clock, Fact
from cloudbeds_auth.rules.happenings import Happening, LogLevel
from cloudbeds_auth.version import VERSION

SECOND = 1_000_000_000  # nanoseconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
METHOD, STATUS = "http.request.method", "http.response.status_code"  # OpenTelemetry's names, as is `_OTHER`
OUTCOME, GRANT_TYPE = "cloudbeds_auth.outcome", "cloudbeds_auth.grant_type"
FROM_HEADERS = frozenset({b"traceparent", b"tracestate"})

Asgi = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SpanForm:
    """The name of an event's span, and the facts that it shows, by attribute name."""

    name: str
    attributes: Mapping[str, str]


SPANS = {
    Happening.PROXIED: SpanForm("cloudbeds_auth.proxied", {METHOD: "method", STATUS: "status"}),
    Happening.TOKEN_ANSWER: SpanForm("cloudbeds_auth.token_request", {GRANT_TYPE: "grant_type", OUTCOME: "answer"}),
    Happening.PROOF: SpanForm("cloudbeds_auth.proof", {OUTCOME: "verdict"}),
}
"""A refresh is a token request whose grant type is `refresh_token`."""


class Traces:
    """An Observer that reports calls to Cloudbeds as spans."""

    def __init__(self, clock: Clock, provider: trace.TracerProvider | None = None) -> None:
        """`provider`: a tracer provider; None: the program's."""
        self._clock = clock
        self._tracer = trace.get_tracer("cloudbeds_auth", VERSION, provider)

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Report a span that ends now, if the event has one; its status is an error if a person should look at it."""
        shown, seconds = SPANS.get(what), facts.get("seconds")
        if shown is None or not isinstance(seconds, int | float):
            return
        end = self._clock.wall()
        given = {name: _value(name, facts.get(fact)) for name, fact in shown.attributes.items()}
        span = self._tracer.start_span(
            shown.name,
            kind=trace.SpanKind.CLIENT,
            attributes={name: value for name, value in given.items() if value is not None},
            start_time=int((end - seconds) * SECOND),
        )
        if _failed(what, facts):
            span.set_status(trace.StatusCode.ERROR)
        span.end(int(end * SECOND))


def within_callers_trace(inside: Asgi) -> Asgi:
    """The application, whose spans belong to the trace that a request names in `traceparent`."""

    async def traced(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        given = {name: value for name, value in scope["headers"] if name in FROM_HEADERS}
        carrier = {name.decode("ascii"): value.decode("latin-1") for name, value in given.items()}
        before = context.attach(propagate.extract(carrier))
        try:
            await inside(scope, receive, send)
        finally:
            context.detach(before)

    return traced


def provided() -> bool:
    """Whether the program has set a tracer provider: without one, every span would be created in vain."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _value(name: str, value: Fact) -> Fact:
    """The value to show. The method comes from the caller: one that is not in `METHODS` is shown as `_OTHER`."""
    return "_OTHER" if name == METHOD and value not in METHODS else value


def _failed(what: Happening, facts: Mapping[str, Fact]) -> bool:
    status = facts.get("status")
    return what.level_of(facts) >= LogLevel.WARNING or (isinstance(status, int) and status >= 500)
