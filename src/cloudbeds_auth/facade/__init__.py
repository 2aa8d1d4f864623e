"""`TokenVault`: the whole library in one object, for asyncio. `cloudbeds_auth.sync` is the same for blocking code.

Read `vault` (its life), then what it can do: `connecting`, `using`, `looking`, `operating`.
"""

from cloudbeds_auth.facade.vault import TokenVault

__all__ = ["TokenVault"]
