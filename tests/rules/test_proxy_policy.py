"""Which scope a path of the vendor's needs in the proxy, and what is relayed for no caller."""

import pytest

from cloudbeds_auth.errors import Forbidden
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.proxy_policy import header_in, method_of, scope_for


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1.3/userinfo",
        "/api/v1.3/getAppState",
        "/api/v2/a%2Fb",
        "/api/v1.1/getHotels/",
        "/payments/v1/charges",
        "/accounting/v1.0/transactions",
        "/integration/v1/events",
        "/doorlock-keys/v2/",
    ],
)
def test_a_plain_method(path: str) -> None:
    """A caller with the scope `proxy` may ask for it."""
    assert scope_for(path) is Scope.PROXY


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1.3/getHotels", "gethotels"),
        ("/api/v2/GETHOTELS", "gethotels"),
        ("/api/v1.3/get%48otels", "gethotels"),
        ("/payments/v1/charges", "charges"),
        ("/pms/v1.1/properties/1000/rooms", "rooms"),
        ("/api/v1.3/putRate/getHotels", None),
        ("/api/v1.3/getHotels/putRate", None),
        ("/api/v1.3/putRate%2FgetHotels", None),
        ("/api/getHotels", None),
        ("/api/v1.3/getHotels/", None),
        ("/api/v1.3/getHotels;a", None),
        ("/api/v1.3/getHotels.json", None),
        ("/api/v1.3/putRate%3FgetHotels", None),
        ("/api/v1.3/get%2548otels", None),
        ("/payments/v1/putRate%23/getHotels", None),
        ("/payments/v1/a,b/getHotels", None),
        ("/api/v1.3/get%E2%84%AAeys", None),
    ],
)
def test_the_one_method(path: str, name: str | None) -> None:
    """That a list of allowed methods is compared with: of the plain form of a path alone."""
    assert method_of(path) == name


@pytest.mark.row("A73")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1.3/postAppState",
        "/api/v1.3/postWebhook",
        "/api/v1.3/deleteWebhook",
        "/api/v1.3/getWebhooks",
        "/api/v1.1/postAppState",
        "/api/v9/postAppState/",
        "/api/postAppState",
        "/api/v1.3/POSTAPPSTATE",
        "/api/v1.3/%70ostAppState",
        "/api/v1.3/post%2541ppState",
        "/api/v1.3%2FpostAppState",
        "/api/v1.3/postAppState;v=1",
        "/api/v1.3/postAppState.json",
        "/api/v1.3/index.php/postAppState",
        "/api/v1.3/%EF%BD%90ostAppState",
    ],
)
def test_a_control_method(path: str) -> None:
    """What changes the grant or the subscriptions needs `admin`, in every version, case and encoding."""
    assert scope_for(path) is Scope.ADMIN


@pytest.mark.row("A73")
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1.3/access_token",
        "/api/v1.1/access_token/",
        "/api/v1.3/ACCESS_TOKEN",
        "/api/v1.3/access%5Ftoken",
        "/api/v1.3/access%255Ftoken",
        "/api/v1.3/oauth",
        "/api/v1.3/oauth/access_token",
        "/api/v1.3/oauth/metadata",
        "/access_token",
        "/oauth",
        "/_control/state",
        "/",
        "/api",
        "/API/v1.3/userinfo",
        "/%61pi/v1.3/userinfo",
        "/metrics",
        "/payments",
        "/payments/v1",
        "/payments/charges",
        "/Payments/v1/charges",
        "/payments/%761/charges",
        "/payments%2Fv1/charges",
        "/_control/v1/expire",
        "/oauth/v1/token",
        "/payments/v1/access_token",
    ],
)
def test_a_path_that_is_never_relayed(path: str) -> None:
    """The token endpoint, the approval page and what is no API are for no caller, the operator included."""
    with pytest.raises(Forbidden):
        scope_for(path)


def test_a_header_by_its_name() -> None:
    """However it is spelled; the first one, where it came twice."""
    raw = [(b"accept", b"*/*"), (b"X-Property-ID", b"1000"), (b"x-property-id", b"1001")]
    assert header_in(raw, b"x-property-id") == "1000"
    assert header_in(raw[:1], b"x-property-id") is None
