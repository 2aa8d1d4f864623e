"""Two machines, as far as the network goes: two network namespaces that share PostgreSQL and the vendor, no more.

Needs root and iproute2: `make test-namespaces`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.acceptance.processes import world_apart
from tests.acceptance.test_herd import PROCESSES, connected, stampede
from tests.support.keys import KEY_TEXT
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer, server

RELAY = Path(__file__).with_name("relay.py")
MACHINES = {"cbauth-one": "10.213.1", "cbauth-two": "10.213.2"}


def ip(*arguments: str) -> None:
    """One command of iproute2."""
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def machine(name: str, net: str) -> Iterator[None]:
    """A namespace with a network of its own, and one cable to this machine: `net`.1 here, `net`.2 there."""
    cable = name.removeprefix("cbauth-")
    ip("netns", "add", name)
    try:
        ip("link", "add", f"cb-{cable}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{net}.1/30", "dev", f"cb-{cable}")
        ip("link", "set", f"cb-{cable}", "up")
        for command in (
            ["addr", "add", f"{net}.2/30", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"],
        ):  # fmt: skip
            ip("-n", name, *command)
        yield
    finally:
        ip("netns", "del", name)


@contextmanager
def relay(listen: str, to: str, inside: str | None = None) -> Iterator[None]:
    """TCP passed on, in a namespace or here."""
    where = ["ip", "netns", "exec", inside] if inside else []
    process = subprocess.Popen([*where, sys.executable, str(RELAY), listen, to], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"listening\n"
        yield
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def two_machines(vendor_port: int, postgres: PostgresServer) -> Iterator[None]:
    """Both, each with the vendor and the database on its own loopback, at the ports that they have here."""
    with ExitStack() as stack:
        for name, net in MACHINES.items():
            stack.enter_context(machine(name, net))
            for port in (vendor_port, postgres.port):
                crossing = free_port()
                stack.enter_context(relay(f"{net}.1:{crossing}", f"127.0.0.1:{port}"))
                stack.enter_context(relay(f"127.0.0.1:{port}", f"{net}.1:{crossing}", inside=name))
        yield


@pytest.mark.row("F45", "F50")
@pytest.mark.parametrize("variant", ["V2/n", "V0/n"])
def test_eight_processes_on_each_of_two_machines_cost_one_refresh(variant: str, tmp_path: Path) -> None:
    """An hour ahead on one and an hour behind on the other: 3,200 callers, one refresh."""
    with server() as postgres:
        settings = {
            "CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20",
            "CLOUDBEDS_AUTH_DATABASE_URL": postgres.url,
            "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
            "CLOUDBEDS_AUTH_ADMIN_TOKEN": "an-admin-token-of-more-than-32-characters",
        }
        with world_apart(tmp_path, "--auto-approve", "--variant", variant, **settings) as made:
            connection = asyncio.run(connected(made))
            port = urlsplit(made.vendor.base).port
            assert port is not None
            with two_machines(port, postgres):
                one, two = (("ip", "netns", "exec", name) for name in MACHINES)
                stampede(made, connection, [(3600.0, one), (-3600.0, two)] * PROCESSES)
