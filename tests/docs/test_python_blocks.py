"""The Python that the documentation shows runs as it stands, against a simulator that is a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.acceptance.processes import PATIENCE, Http, Process, world
from tests.docs.pages import code_block, text_of

BLOCKS = {
    "readme": ("README.md", ""),
    "asyncio": ("docs/python.md", "<!-- block -->"),
    "blocking": ("docs/python.md", "<!-- blocking -->"),
    "requests": ("docs/clients.md", "<!-- requests -->"),
    "sdk": ("docs/clients.md", "<!-- sdk -->"),
}


def approved(url: str) -> str:
    """Approve at this address, as a browser would; the code that comes back."""
    back = urlsplit(Http().get(url).headers["Location"])
    code: str = parse_qs(back.query)["code"][0]
    return code


@pytest.mark.parametrize("block", BLOCKS)
def test_the_block_runs_as_written(block: str, tmp_path: Path) -> None:
    """It prints an address, takes the code, and shows who approved: the hotel is connected and a call answers."""
    page, marker = BLOCKS[block]
    (tmp_path / "hotel.py").write_text(code_block(text_of(page), "python", after=marker), "utf-8")
    with world(tmp_path, "--auto-approve") as made:
        program = Process("hotel", env=made.settings, cwd=tmp_path)
        try:
            code = approved(program.wait_for(r"open (http\S+)")[1])
            assert program.popen.stdin
            program.popen.stdin.write(f"{code}\n")
            program.popen.stdin.flush()
            status = program.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(program.output)
        finally:
            program.stop()
        assert status == 0, program.output
        assert "'first_name': 'Ada'" in program.output
        assert made.vendor.counts("authorization_code") == {"issued": 1}


def test_the_asyncio_block_is_the_public_contracts() -> None:
    """Letter by letter: users were promised this block."""
    promised = Path(__file__).with_name("contract_block.txt").read_text("utf-8")
    assert code_block(text_of("docs/python.md"), "python", after="<!-- block -->") == promised
