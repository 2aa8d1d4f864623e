"""The simulator as a process of its own, on a free port, that ends with the tests however they end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cloudbeds_auth.child_process import Child, bare_environment
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.pytest_plugin.simulator import CLIENT_ID, Simulator
from cloudbeds_auth.system import SystemClock, SystemEntropy

HOTELS = 3


@contextmanager
def running(folder: Path) -> Iterator[Simulator]:
    """A simulator for as long as the block lasts; its log is in `folder`. Raises ChildFailed, ConfigurationError."""
    if find_spec("aiohttp") is None:
        raise ConfigurationError("the simulator needs aiohttp", next_step="pip install 'cloudbeds-auth[pytest]'")
    secret = SystemEntropy().token()
    arguments = ["cloudbeds_simulator", "--port", "0", "--with-parent", "--hotels", str(HOTELS)]
    environment = bare_environment(folder, SIMULATOR_CLIENT_SECRET=secret)
    child = Child("simulator", [*arguments, "--client-id", CLIENT_ID], environment, folder)
    try:
        with Simulator(child.start(SystemClock()), secret) as simulator:
            yield simulator
    finally:
        child.stop()
