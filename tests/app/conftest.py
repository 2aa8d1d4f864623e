"""A running service with a vendor behind it, for every test of the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.app.running import Running, Vendor, a_service, a_vendor
from tests.app.vaults import RealVault, given


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """A vendor that accepts `token-1`."""
    async with a_vendor() as running:
        yield running


@pytest.fixture
async def vault(vendor: Vendor) -> RealVault:
    """A vault with one hotel, `con_1`, of property 1000."""
    return RealVault(given(base_url=vendor.base_url))


@pytest.fixture
async def service(vault: RealVault) -> AsyncIterator[Running[RealVault]]:
    """The service over both."""
    async with a_service(vault) as running:
        yield running
