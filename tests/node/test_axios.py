"""A program in another language moves behind the proxy by changing its base URL: Node with axios, from a lock."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.processes import PATIENCE, Process, World, world
from tests.docs.pages import block
from tests.docs.terminal import assert_shown, run_to_its_end
from tests.docs.under_load import ROTATIONS, across_three_rotations, ended

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own with axios from the lock, below no folder of ours."""
    made = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, made)
    (made / "hotel.mjs").write_text(block("docs/clients.md#node"), "utf-8")
    (made / "many.mjs").write_text(block("docs/examples.md#node"), "utf-8")
    done = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=made,
        env=os.environ | {"HOME": str(made), "npm_config_cache": str(made / "cache")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return made


def behind_the_proxy(made: World, connection: str) -> dict[str, str]:
    """Where the program calls, and with which credential, beside the service."""
    assert made.admin.token
    return {"CLOUDBEDS_URL": f"{made.base}/proxy/{connection}", "CLOUDBEDS_TOKEN": made.admin.token}


def at_the_vendor(made: World, connection: str) -> dict[str, str]:
    """The same without it: Cloudbeds itself, and an access token."""
    token = made.run("access-token", connection).stdout.strip()
    return {"CLOUDBEDS_URL": made.vendor.base, "CLOUDBEDS_TOKEN": token}


BOUND = """
import axios from "axios";
const base = process.env.CLOUDBEDS_URL;
const headers = { Authorization: `Bearer ${process.env.CLOUDBEDS_TOKEN}` };
const http = axios.create({ headers, validateStatus: () => true });
const read = await http.get(`${base}/100001/api/v1.3/getHotels`);
const write = await http.post(`${base}/100001/api/v1.3/postReservation`, { propertyID: "100001" });
const other = await http.get(`${base}/100002/api/v1.3/getHotels`);
console.log([read, write, other].map((answer) => answer.status).join(" "));
"""


def node(folder: Path, script: str, env: dict[str, str]) -> Process:
    """A program that runs."""
    return Process(script, env=env, cwd=folder, command=("node",))


def test_the_program_of_the_page_runs_in_both_places(folder: Path, tmp_path: Path) -> None:
    """As it is written in docs/clients.md: at the vendor, and behind the proxy with another base URL."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        connection = made.connect()
        for place in (at_the_vendor, behind_the_proxy):
            program = node(folder, "hotel.mjs", place(made, connection))
            try:
                assert program.popen.wait(PATIENCE) == 0, program.output
                program.wait_for("^Ada$")
            finally:
                program.stop()


@pytest.mark.row("A27")
@pytest.mark.row("A28")
def test_a_program_with_a_key_for_reading_one_property(folder: Path, tmp_path: Path) -> None:
    """Its read is answered, its write is refused, and so is its read of another hotel."""
    (folder / "bound.mjs").write_text(BOUND, "utf-8")
    with world(tmp_path, "--auto-approve", "--hotels", "2") as made:
        made.start()
        for hotel in ("100001", "100002"):
            made.vendor.control("choose", property_ids=[hotel])
            made.connect()
        done = made.run("keys", "create", "node", "--scope", "proxy", "--read-only", "--property", "100001")
        env = {"CLOUDBEDS_URL": f"{made.base}/proxy", "CLOUDBEDS_TOKEN": done.stdout.strip()}
        program = node(folder, "bound.mjs", env)
        try:
            assert program.popen.wait(PATIENCE) == 0, program.output
            program.wait_for("^200 403 403$")
        finally:
            program.stop()


def test_thirty_two_callers_see_no_401_across_three_rotations(folder: Path, tmp_path: Path) -> None:
    """As they are written in docs/examples.md: the token ends three times under their hands, every answer is a 200."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        connection = made.connect()
        program = node(folder, "many.mjs", behind_the_proxy(made, connection))
        try:
            statuses = json.loads(across_three_rotations(program, made))
        finally:
            program.stop()
        assert list(statuses) == ["200"], statuses
        assert statuses["200"] > ROTATIONS * 300
        given, shown = block("docs/examples.md#node-output").split("\n$ node many.mjs\n")
        assert_shown(program.output, re.sub(r'\{"200":\d+\}', json.dumps(statuses, separators=(",", ":")), shown))
        (tmp_path / "simulated.sqlite3.admin-token").write_text(made.admin.token or "", "utf-8")
        told = run_to_its_end(given.removeprefix("$ ") + "\necho $CLOUDBEDS_URL $CLOUDBEDS_TOKEN", tmp_path, {})
        assert told.split() == ["http://127.0.0.1:7000/proxy/100001", made.admin.token]


def test_without_the_proxy_the_same_callers_see_401s(folder: Path, tmp_path: Path) -> None:
    """The program is the same, and so is the vendor: the silence above is the proxy's doing."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        program = node(folder, "many.mjs", at_the_vendor(made, made.connect()))
        try:
            program.wait_for("^answered 100$")
            made.vendor.control("expire")
            program.wait_for(f"^answered {200 + int(program.lines[-1].split()[1])}$")
            assert set(json.loads(ended(program))) == {"200", "401"}
        finally:
            program.stop()


def test_the_lock_names_no_registry() -> None:
    """What is installed is known by its hash, wherever this machine gets packages from."""
    packages = json.loads((HERE / "package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: one for name, one in packages.items() if name}
    assert "node_modules/axios" in installed
    assert all("integrity" in one and "resolved" not in one for one in installed.values())
