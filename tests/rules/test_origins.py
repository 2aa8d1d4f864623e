"""Where a credential may be used: the one decision, its table, and its words."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.origins import (
    ONE_SERVICE,
    Cohort,
    Source,
    foreign,
    foreign_secret,
    is_vendors,
    same_service,
)

A, B = "https://a.example", "https://b.example"
API, HOTELS = "https://api.cloudbeds.com", "https://hotels.cloudbeds.com"


@pytest.mark.parametrize("source", [Source(API, "client-1"), Source(None, "a client"), Source(A), Source()])
def test_a_cohort_and_its_key(source: Source) -> None:
    """What an index knows it by says all of it; what is unknown stays so."""
    cohort = Cohort("default", "default", "oauth", source)
    assert Cohort.parse(cohort.key) == cohort


@pytest.mark.row("F92")
def test_which_origins_are_one_service() -> None:
    """Those that the table names together, and nothing that looks like them."""
    assert same_service(A, A)
    assert same_service(API, HOTELS)
    assert same_service(HOTELS, API)
    for other in (
        "http://api.cloudbeds.com", "https://api.cloudbeds.com:8443", "https://api.cloudbeds-stage.com",
        "https://us2.cloudbeds.com", "https://api.cloudbeds.com.example", A,
    ):  # fmt: skip
        assert not same_service(API, other)
    assert all(origin.startswith("https://") for names in ONE_SERVICE for origin in names)


@pytest.mark.row("A69")
@pytest.mark.parametrize(
    ("origin", "is_theirs"),
    [
        (API, True),
        ("https://us2.cloudbeds.com", True),
        ("https://cloudbeds.com", True),
        ("http://api.cloudbeds.com", False),
        ("https://api.cloudbeds.com.example", False),
        ("https://evilcloudbeds.com", False),
        ("https://api.cloudbeds-stage.com", False),
        ("https://example.com/api.cloudbeds.com", False),
    ],
)
def test_which_hosts_are_the_vendors(origin: str, is_theirs: bool) -> None:
    """Its own domain over TLS; a name that only ends like it is somebody else's."""
    assert is_vendors(origin) is is_theirs


@pytest.mark.row("F92")
@pytest.mark.parametrize(
    ("source", "here"),
    [
        (Source(A, "one"), Source(A, "one")),
        (Source(API, "one"), Source(HOTELS, "one")),
        (Source(None, "one"), Source(A, "one")),
        (Source(A, None), Source(A, "one")),
        (Source(A, "one"), Source(A, None)),
        (Source(), Source(A, "one")),
    ],
)
def test_what_may_be_used(source: Source, here: Source) -> None:
    """What came from here, and what nobody knows the origin or the client of."""
    assert foreign(source, here, "default", own=True) is None


@pytest.mark.row("F92")
def test_the_words() -> None:
    """Both names, and what an operator does; the origin is said first, because a client id means nothing elsewhere."""
    found = foreign(Source(A, "one"), Source(B, "two"), "default", own=True)
    assert found is not None
    assert found.what == f"tokens were issued by {A}, and CLOUDBEDS_BASE_URL is {B}"
    assert f"`cloudbeds-auth apps move-origin default --from {A}`" in found.next_step
    own = foreign(Source(A, "one"), Source(A, "two"), "default", own=True)
    assert own is not None
    assert own.what == "tokens were issued to the client id one, and CLOUDBEDS_CLIENT_ID is two"
    assert own.next_step == "set CLOUDBEDS_CLIENT_ID to one and its secret again; no hotel is at fault"
    none = foreign(Source(A, "one"), Source(A, ""), "default", own=True)
    assert none is not None
    assert none.what == "tokens were issued to the client id one, and CLOUDBEDS_CLIENT_ID is not set"
    further = foreign(Source(A, "one"), Source(A, "two"), "aurora", own=False)
    assert further is not None
    assert further.what == "tokens were issued to the client id one, and the app 'aurora' has two"
    secret = foreign_secret(A, B, "aurora")
    assert secret is not None
    assert secret.what == f"the client secret of the app 'aurora' is for {A}, and CLOUDBEDS_BASE_URL is {B}"
    assert foreign_secret(None, B, "aurora") is foreign_secret(HOTELS, API, "aurora") is None
