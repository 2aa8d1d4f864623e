"""What the programs of docs/examples.md go through."""

from __future__ import annotations

from tests.acceptance.processes import PATIENCE, Process, World

ROTATIONS = 3


def across_three_rotations(program: Process, made: World) -> str:
    """The token ends three times under its callers' hands, and each time one refresh mends it; what they saw."""
    answered = 0
    for rotation in range(1, ROTATIONS + 1):
        answered += 200
        program.wait_for(f"^answered {answered}$")
        seen = len(made.vendor.control("requests", "GET")["requests"])
        made.vendor.control("expire")
        refresh = f"wait?target=token&outcome=issued&after={seen}&timeout={PATIENCE:.0f}"
        assert made.vendor.control(refresh, "GET")["entry"] is not None
        answered = 100 + int(program.lines[-1].split()[1])
        program.wait_for(f"^answered {answered}$")
        assert made.vendor.counts() == {"issued": rotation}
    program.wait_for(f"^answered {answered + 100}$")
    refused = [one for one in made.vendor.control("requests", "GET")["requests"] if one["status"] == 401]
    assert refused, "the vendor did refuse the dead tokens; nobody but the vault met that"
    return ended(program)


def ended(program: Process) -> str:
    """Ctrl-D: how often its callers saw each status, as it prints it."""
    assert program.popen.stdin
    program.popen.stdin.close()
    statuses = program.wait_for("^statuses (.*)$")[1]
    assert program.popen.wait(PATIENCE) == 0, program.output
    return statuses
