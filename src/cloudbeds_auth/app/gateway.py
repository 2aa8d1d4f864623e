"""The gateway: the outermost layer, raw ASGI. It checks the host, identifies the caller, and admits or refuses.

Default deny: without a credential every path answers 401, whether it exists or not, except those open to anyone. Pages
of operators require a browser session, and show the sign-in form with their 401.
Code behind the gateway checks no credential again; it calls `may(caller, scope, connection)`. For requests that anyone
may repeat without limit, the database is read at most once a second (A79).
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cloudbeds_auth.app.checks import CredentialChecks, Known
from cloudbeds_auth.app.cookies import SessionCookie
from cloudbeds_auth.app.http_connections import ClientGone, occupy
from cloudbeds_auth.app.limits import LARGEST_BODY, Arriving, Limits, Tally, address_of, hash_of
from cloudbeds_auth.app.problems import (
    REFUSAL,
    BodyTooLarge,
    LengthRequired,
    MethodNotAllowed,
    Misdirected,
    Ours,
    Unexpected,
)
from cloudbeds_auth.app.remembered import Remembered
from cloudbeds_auth.errors import Error, InvalidRequest, Unauthenticated
from cloudbeds_auth.ports import ACTING, REQUEST_ID
from cloudbeds_auth.rules.audit import Acting
from cloudbeds_auth.rules.happenings import ROUTES, Happening
from cloudbeds_auth.rules.permissions import ADMIN, METRICS, Caller
from cloudbeds_auth.rules.permissions import Scope as Granted
from cloudbeds_auth.rules.proxy_policy import query_of, refuse_token
from cloudbeds_auth.rules.request_ids import request_id_of
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from cloudbeds_auth.vault import TokenVault

log: Final = logging.getLogger(__name__)

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
FRAMING = frozenset({b"content-length", b"transfer-encoding"})  # without either there is no body (RFC 9112 section 6.3)

# The paths marked *anyone* in the public contract, but for the callbacks: `Callbacks` knows those.
EXACT = frozenset({"/healthz", "/readyz", "/connect", "/connected", "/errors", "/favicon.ico"})
# Paths with one variable segment, in the only spelling that is accepted: an encoded twin is not one of them.
PATTERN = re.compile(
    r"/hooks/[A-Za-z0-9_-]{1,256}\Z|/claim/con_[A-Za-z0-9]{1,64}\Z|/(?:connect|paste-key|add-app)/[A-Za-z0-9_-]{1,256}\Z"
    r"|/(?:errors|not-connected)/[a-z_]{1,64}\Z|/static/[a-z0-9-]{1,40}\.[a-z]{2,5}\Z"
)
# What only callers with a credential ask for: no redirect URI may have such a path, so none is looked for.
CREDENTIALLED = frozenset({"/metrics", "/openapi.json"})
BELOW = ("/api/v1/", "/proxy/")
DESCRIPTION = b"/openapi.json"
SECRETIVE = re.compile(r"\A/(connect|hooks|paste-key|add-app)/.*", re.DOTALL)  # no log shows what follows
# Where anyone may come to sign in, and pages that a session alone opens, in the one spelling that they have.
SIGN_IN = frozenset({"/", "/sign-in", "/session", "/session/end"})
OF_SESSIONS = re.compile(r"/(?:connections|apps|keys|audit|work|settings|live|docs)(?:/|\Z)")
LIVE = re.compile(r"/live(?:/|\Z)")  # of these, what a page asks for by itself: that is no use of its session
REFERENCE = "/docs"  # of these the one that a credential opens, too
SIGN_IN_FIRST = "/sign-in-first"  # where they are answered without a session
CALLBACK = "/callback"  # where the one handler of all callbacks is served, however the redirect URIs are spelled
# Where HEAD is not served: a GET of them begins or finishes an approval, or its answer does not end.
NOT_BY_HEAD = frozenset({"/connect", CALLBACK, "/live"})
# In a request's state:
APP = "cloudbeds_app"  # the name of the app whose callback is asked for
HOTEL = "cloudbeds_hotel"  # the id of the connection that it is about
SESSION = "cloudbeds_session"  # of a page of operators: the session of its browser, None without one


def known_to(vault: TokenVault) -> Known[Caller]:
    """Knows the admin token, the one for `/metrics` if it is set, and the keys of callers; hashes are compared, in
    constant time (A24).
    """
    named = ((vault.admin_token, ADMIN), (vault.settings.metrics_token, METRICS))
    known = [(hash_of(one.reveal()), caller) for one, caller in named if one is not None]

    async def authenticate(credential: str, hashed: bytes, address: str) -> Caller | None:
        found = [caller for one, caller in known if hmac.compare_digest(hashed, one)]
        return found[0] if found else await vault.keys.authenticate(credential, address)

    return authenticate


class Gateway:
    """`proxy` gets what lies below `/proxy/`, `inside` everything else."""

    def __init__(
        self,
        vault: TokenVault,
        inside: ASGIApp,
        proxy: ASGIApp,
        *,
        limits: Limits,
        tally: Tally,
        checks: CredentialChecks,
    ) -> None:
        self._inside = inside
        self._proxy = proxy
        self._hosts = frozenset(host.strip().lower() for host in vault.settings.allowed_hosts)
        self._callbacks = Callbacks(vault)
        self._authenticate = known_to(vault)
        self._observer = vault.engine.world.observer
        self._clock = vault.engine.world.clock
        self._entropy = vault.engine.world.entropy
        self._limits = limits
        self._tally = tally
        self._checks = checks
        self._sessions = vault.engine.sessions
        self._cookie = SessionCookie(vault.settings.public_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it; the server withholds the body of an answer to HEAD (RFC 9110, 9.3.2)."""
        begun = self._clock.steady()
        ACTING.set(Acting("hotel", address_of(scope)))  # so far: what anyone may ask for is a hotel's page
        REQUEST_ID.set(request_id_of(scope["headers"]) or self._entropy.identifier(""))
        ours = Ours(send, scope["state"])
        if not FRAMING.isdisjoint([name for name, _ in scope["headers"]]):
            receive = Arriving(receive, self._limits)
        try:
            await self._admit(scope)
            occupy(scope)
        except ClientGone:
            return
        except Error as error:
            await ours.refuse(error, *_extra(error))
        except Exception:
            log.exception("an unexpected error in %s", scope["method"])
            await ours.refuse(Unexpected())
        else:
            if scope["raw_path"].startswith(b"/proxy/"):
                await self._proxy(scope, receive, send)  # reports to the observer itself
                return
            try:
                head = scope["method"] == "HEAD" and scope["path"] not in NOT_BY_HEAD
                await self._inside({**scope, "method": "GET"} if head else scope, receive, ours)
            except Exception:  # the framework answered 500, unless an answer had begun
                log.exception("an unexpected error in %s", scope["method"])
        path, refusal = scope["raw_path"].decode("latin-1"), scope["state"].get(REFUSAL)
        caller: Caller | None = scope["state"].get("caller")
        self._observer.happened(
            Happening.REQUEST,
            connection_id=scope["state"].get(HOTEL) or (refusal and refusal.connection_id),
            method=scope["method"],
            route=route_of(scope["path"]),
            path=SECRETIVE.sub(r"/\1/…", path),
            caller=None if caller is None else caller.name,
            status=ours.status,
            code=ours.code or (refusal and refusal.code),
            reason=refusal and refusal.detail,
            address=address_of(scope),
            seconds=self._clock.steady() - begun,
        )

    async def _admit(self, scope: Scope) -> None:
        """Every check before routing; puts the caller into the scope's state. Raises the refusal."""
        await self._host(scope)
        if scope["method"] not in METHODS:
            raise MethodNotAllowed(f"{scope['method']} is not served here")
        if b"upgrade" in [name for name, _ in scope["headers"]]:
            raise InvalidRequest("no protocol is upgraded to here")
        if not scope["raw_path"].startswith(b"/proxy/"):
            refuse_token(scope["query_string"])
            small_body(scope["headers"])
            if await self._page(scope) or await self._open(scope):
                return
        query_of(scope["query_string"])  # refuses a token, too
        scope["state"]["caller"] = caller = await self._reader(scope) or await self._caller(scope)
        ACTING.set(Acting(caller.name, address_of(scope)))

    async def _open(self, scope: Scope) -> bool:
        """Whether anyone may request this path; the path of any callback is rewritten to that of the common handler."""
        path = scope["raw_path"].decode("latin-1")
        if path in EXACT or PATTERN.match(path):
            return True
        if (app := await self._callbacks.app_at(path)) is None:
            return False
        scope["path"] = CALLBACK  # it never reads the path
        scope["state"][APP] = app
        return True

    async def _caller(self, scope: Scope) -> Caller:
        """The caller whose credential it is; raises Unauthenticated."""
        caller = await self._checks.check(scope, credential(scope), self._authenticate)
        if caller is None:
            self._tally.add(Happening.CREDENTIAL_REFUSED, address=address_of(scope))
            raise Unauthenticated("this credential is not known here")
        return caller

    async def _reader(self, scope: Scope) -> Caller | None:
        """The operator whose browser reads the description of the API, the only part of the API open to a session."""
        if scope["method"] not in {"GET", "HEAD"} or scope["raw_path"] != DESCRIPTION:
            return None
        session = await self._session(scope)
        return None if session is None else Caller(session.actor, frozenset({Granted.ADMIN}))

    async def _session(self, scope: Scope) -> Session | None:
        """That of the browser, by its cookie."""
        held = self._cookie.read([value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"])
        used = LIVE.match(scope["path"]) is None
        return None if held is None else await self._sessions.recognize(held, used=used)

    async def _page(self, scope: Scope) -> bool:
        """Whether this is a page of operators: the scope's state then gets the browser's session, valid for pages only.

        Without a session, a page that needs one is answered with the sign-in form, whether the page exists or not.
        """
        path = scope["raw_path"].decode("latin-1")
        if path not in SIGN_IN and not OF_SESSIONS.match(path):
            return False
        scope["state"][SESSION] = session = await self._session(scope)
        if session is not None:
            ACTING.set(Acting(session.actor, address_of(scope)))
        elif path == REFERENCE and has_credential(scope):
            return False
        elif path not in SIGN_IN:
            scope["path"] = SIGN_IN_FIRST
        return True

    async def _host(self, scope: Scope) -> None:
        """Accept only our own host names: a rebound or forged name is refused before anything else (A13, A19)."""
        found = [value for name, value in scope["headers"] if name == b"host"]
        if len(found) != 1:
            raise InvalidRequest("exactly one Host header is needed")
        host = found[0].decode("latin-1").lower()
        name = host_name(host)
        if host not in self._hosts and name not in self._hosts and not await self._callbacks.know_host(name):
            raise Misdirected


class Callbacks:
    """The callbacks: of the app in the settings, and of further apps.

    Further apps are added at run time, so they are read when an unknown host or path is requested, and remembered for a
    second (decision 0009). The hosts of their redirect URIs are accepted unless the settings list the allowed hosts.
    """

    def __init__(self, vault: TokenVault) -> None:
        settings = vault.settings
        self._public_url = settings.public_url
        self._own = callback_paths(settings.redirect_uri, settings.public_url)
        self._redirect_uris = Remembered(vault.apps.redirect_uris, vault.engine.world.clock)
        self._derived = settings.derived_hosts
        self._read: Mapping[str, str] = {}  # and what follows from it
        self._hosts: Set[str | None] = set()
        self._apps: Mapping[str, str] = {}

    async def know_host(self, name: str) -> bool:
        """Whether it is the host of one of their redirect URIs."""
        if not self._derived:
            return False
        await self._look()
        return name in self._hosts

    async def app_at(self, raw_path: str) -> str | None:
        """The app whose callback it is, exactly as the path came over the wire; no two have the same."""
        if raw_path in self._own:
            return "default"
        if raw_path in CREDENTIALLED or raw_path.startswith(BELOW):
            return None
        await self._look()
        return self._apps.get(raw_path)

    async def _look(self) -> None:
        """Recompute hosts and paths only if an app was added or removed: there may be very many."""
        uris = await self._redirect_uris()
        if uris is not self._read:
            self._hosts = {urlsplit(uri).hostname for uri in uris.values()}
            first = reversed([*uris.items()])  # of two with one path, the first by name
            self._apps = {path: name for name, uri in first for path in callback_paths(uri, self._public_url)}
            self._read = uris


def callback_paths(redirect_uri: str, public_url: str) -> tuple[str, ...]:
    """The path that the vendor sends browsers to, as it reaches us: with the public URL's prefix and without it."""
    path, prefix = urlsplit(redirect_uri).path or "/", path_prefix(public_url)
    return (path, path.removeprefix(prefix)) if prefix and path.startswith(prefix + "/") else (path,)


def route_of(path: str) -> str:
    """Where a request went, one of `ROUTES`."""
    return next((route for route in ROUTES if path == route or path.startswith(f"{route}/")), ROUTES[-1])


def path_prefix(public_url: str) -> str:
    """The path of the public URL without its last slash: empty, or `/auth` behind a reverse proxy that strips it."""
    return urlsplit(public_url).path.rstrip("/")


def credential(scope: Scope) -> str:
    """The caller's credential; raises Unauthenticated when there is none, or several that differ."""
    found: set[str] = set()
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, given = value.decode("latin-1").strip().partition(" ")
            if scheme.lower() != "bearer" or not given.strip():
                raise Unauthenticated("only `Authorization: Bearer …` is understood")
            found.add(given.strip())
        elif name == b"x-api-key":
            found.add(value.decode("latin-1").strip())
    if not found:
        raise Unauthenticated
    if len(found) > 1:
        raise Unauthenticated("several credentials came with the request, and they differ")
    return found.pop()


def has_credential(scope: Scope) -> bool:
    """Whether the caller sent one, good or not."""
    return any(name in {b"authorization", b"x-api-key"} for name, _ in scope["headers"])


def host_name(host: str) -> str:
    """A Host header without its port; IPv6 addresses without brackets."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or (port.startswith(":") and _is_number(port[1:]))) else ""
    name, colon, port = host.partition(":")
    return name if not colon or _is_number(port) else ""


def _is_number(port: str) -> bool:
    return port.isascii() and port.isdigit()  # `²` is a digit, and no port


def small_body(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Outside the proxy a body is a small JSON document whose length is known before it is read."""
    for name, value in headers:
        if name == b"transfer-encoding":
            raise LengthRequired
        if name == b"content-length" and (not value.isdigit() or len(value) > 9 or int(value) > LARGEST_BODY):
            raise BodyTooLarge(f"a body has at most {LARGEST_BODY} bytes here")


def _extra(error: Error) -> tuple[tuple[bytes, bytes], ...]:
    """What a refusal here adds: the methods that there are; no further request on a doubtful connection."""
    methods = ((b"allow", ", ".join(sorted(METHODS)).encode()),) if isinstance(error, MethodNotAllowed) else ()
    return (*methods, (b"connection", b"close")) if isinstance(error, InvalidRequest) else ()
