"""Where a browser may be sent after an approval."""

import pytest

from cloudbeds_auth.errors import InvalidReturnTo
from cloudbeds_auth.rules.redirects import allowed_return, origin_of, with_query

ORIGINS = ("https://app.example", "http://localhost:3000", "https://hotel.example:8443/")


@pytest.mark.parametrize(
    "return_to",
    [
        "/",
        "/done",
        "/done?tab=1&x=%2F%2Fevil",
        "/done#part",
        "/a%20b",
        "https://app.example",
        "https://app.example/",
        "https://APP.example/x?y=1#z",
        "https://app.example:443/x",
        "http://localhost:3000/back",
        "https://hotel.example:8443/back",
    ],
)
def test_allowed(return_to: str) -> None:
    """A path of ours and an address of a listed origin pass exactly as they came."""
    assert allowed_return(return_to, ORIGINS) == return_to


@pytest.mark.row("A12")
@pytest.mark.parametrize(
    "return_to",
    [
        "//evil",
        "//evil.example/x",
        "///evil",
        "/\\evil",
        "\\\\evil",
        "\\/evil",
        "https:evil",
        "https:/evil",
        "https:///evil",
        "/%09/evil",
        "/\t/evil",
        "/%2f/evil",
        "/%2Fevil",
        "/%5cevil",
        "/%0d%0aLocation:%20//evil",
        "/a/..//evil",
        "/../evil",
        "/%2e%2e/evil",
        "/./x",
        "@evil",
        "evil",
        "",
        " /x",
        "/x y",
        "/x\n",
        "\x00/x",
        "/é",
        "?x",
        "#x",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "https://evil",
        "https://app.example.evil",
        "https://app.example@evil",
        "https://evil@app.example",
        "https://user:pw@app.example",
        "https://app.example:444",
        "https://app.example:x",
        "https://app.example:99999",
        "http://app.example",
        "https://app.example.",
        "https://app。example",
        "https://app%2eexample",
        "https://app.example\\@evil",
        "https://[::1",
        "ftp://app.example",
        "/" + "x" * 3000,
    ],
)
def test_refused(return_to: str) -> None:
    """Whatever a browser may read as another place raises InvalidReturnTo."""
    with pytest.raises(InvalidReturnTo) as caught:
        allowed_return(return_to, ORIGINS)
    assert caught.value.code == "invalid_return_to"
    assert caught.value.status == 400


def test_without_listed_origins() -> None:
    """Nothing listed: only paths of ours."""
    assert allowed_return("/x", ()) == "/x"
    with pytest.raises(InvalidReturnTo):
        allowed_return("https://app.example", ())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://APP.example:443/x", "https://app.example"),
        ("http://localhost:7000/callback", "http://localhost:7000"),
        ("http://[::1]:80", "http://[::1]"),
        ("nonsense", None),
        ("https://a:b:c", None),
    ],
)
def test_origin_of(url: str, origin: str | None) -> None:
    """Scheme, host and port in lower case, a default port left out."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/done", "/done?connection_id=con_1&reference=a%26b"),
        ("/done?x=%2F", "/done?x=%2F&connection_id=con_1&reference=a%26b"),
        ("/done?reference=forged&x", "/done?x&connection_id=con_1&reference=a%26b"),
        ("/done?re%66erence=forged", "/done?connection_id=con_1&reference=a%26b"),
        ("https://app.example/a#b", "https://app.example/a?connection_id=con_1&reference=a%26b#b"),
    ],
)
def test_with_query(url: str, expected: str) -> None:
    """Ours replace forged ones of the same name, and stand before a fragment; the rest stays as it was."""
    assert with_query(url, connection_id="con_1", reference="a&b") == expected


def test_with_query_leaves_out_none() -> None:
    """A parameter that is None is not there."""
    assert with_query("/done", connection_id="con_1", reference=None) == "/done?connection_id=con_1"
