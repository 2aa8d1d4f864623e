"""The proof runner: what it records, that it goes on where it ended, and that nothing fails unnoticed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest
from rich.console import Console
from tests.simulation import prove, record, report
from tests.simulation.controls import CONTROLS
from tests.simulation.everywhere import everywhere
from tests.simulation.exhaustive import ALL_STATIONS
from tests.simulation.kinds import KINDS
from tests.simulation.record import OtherCode, Part, Record
from tests.simulation.sets import KILL_POINTS, SETS
from tests.simulation.tasks import Outcome, Task, do
from tests.simulation.workers import Died, Workers

from cloudbeds_simulator.rotation import VARIANTS

CRASHES = {
    "kills": 600, "inside": 400, "lost": 0, "most_kept": 3, "points": {"K0": 200, "K1": 400, "K2": 0},
    "cost": {"undisturbed: 1 for 1": 9},
    "runs": [{
        "what": "forked vaults", "command": "python -m tests.crash.kill --trials 600 --report /somewhere/report.json",
        "variant": "all", "seconds": 60.0, "machine": "8 cores", "python": "3.11.7", "commit": "",
    }],
}  # fmt: skip


def full(store: str) -> Record:
    """The record of a run in which every fault struck twice under every variant."""
    made = record.new(store)
    for seed in range(30):
        made.add_seed(seed)
    made.counts.update({"refreshes": 1234, "told refreshed": 1000, "checks": 99_000})
    made.variants = {variant: Counter({f"fault {kind}": 2 for kind in KINDS}) for variant in VARIANTS}
    made.sets = {KILL_POINTS: {variant: Part(60, 1.5, dict.fromkeys(ALL_STATIONS, 30), 0) for variant in VARIANTS}}
    made.controls = {control.name: "I1: found" for control in CONTROLS}
    return made


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_the_code_of_a_record_is_all_that_runs() -> None:
    """Whatever of ours a run over either store imports is in the hash by which records are joined."""
    program = """if True:
        import sys
        from tests.simulation import prove, run
        for store in ("disk", "memory"):
            assert run.run_seed(2, store).violation is None
        for name, module in [*sys.modules.items()]:
            if name.startswith(("cloudbeds_", "tests.")) and getattr(module, "__file__", None):
                print(module.__file__)
    """
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=record.ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [".", *sys.path]))},
    )  # fmt: skip
    imported = {Path(record.ROOT, line).resolve() for line in ran.stdout.splitlines()}
    assert len(imported) > 100
    hashed = [record.ROOT / one for one in record.CODE]
    assert [path for path in imported if not any(path.is_relative_to(one) for one in hashed)] == []


@pytest.mark.long
@pytest.mark.parametrize("store", ["disk", "memory"])
def test_no_run_calls_what_its_record_does_not_name(store: str) -> None:
    """Of the modules that may change without a new proof nothing is called but constructors: by seeds of several
    readings of the rule, by a control, and by a refresh under each kind of strike.
    """
    left_out = {str(record.ROOT / one) for one in record.NOT_RUN}
    assert all(Path(one).is_file() for one in left_out)
    called: set[str] = set()

    def enters(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename in left_out:
            called.add(f"{frame.f_code.co_filename}: {frame.f_code.co_name}")

    former = sys.getprofile()
    sys.setprofile(enters)
    try:
        outcomes = [do(Task("seed", store, seed=seed)) for seed in range(16)]
        outcomes.append(do(Task("control", "disk", name=CONTROLS[0].name)))
        struck = everywhere(("V2/n",), store, stride=10_000)
    finally:
        sys.setprofile(former)
    assert len({one.variant for one in outcomes}) > 5
    assert [one.failures for one in outcomes if one.failures] == []
    assert struck.failures == []
    assert struck.runs == len(struck.points) > 50
    assert {one for one in called if not one.endswith(": __init__")} == set()


def test_a_record_outlives_a_word_and_no_statement() -> None:
    """Comments, docstrings and empty lines are not in the hash of the code; a text that the code uses is."""
    described = '''"""Adds."""

def add(one: str, other: str) -> str:  # never the other way round
    """One and the other.

    A `#` in a text is no comment.
    """
    # first things first
    return one + "#" + other
"""What it is for."""
'''
    bare = """def add(one: str, other: str) -> str:
    return one + "#" + other"""
    assert record.what_runs(described) == bare
    assert record.what_runs(bare) == bare
    assert record.what_runs(described.replace('"#"', '"-"')) != bare


def test_the_seeds_of_a_record_are_ranges_whatever_their_order() -> None:
    """Workers end in any order; a seed that is done twice counts once."""
    made = record.new("disk")
    for seed in (3, 0, 1, 7, 2, 3):
        made.add_seed(seed)
    assert made.done == [[0, 4], [7, 8]]
    assert made.seeds == 5
    assert [seed for seed in range(9) if not made.has_seed(seed)] == [4, 5, 6, 8]


def test_a_record_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    """Counters, parts and failures too; nothing else is left in the folder."""
    made = full("disk")
    made.failures.append(record.Failure("seed 3", "I2: lost", "story", "replay"))
    made.save(tmp_path / "run.json")
    assert record.resumed(tmp_path / "run.json", "disk") == made
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_record_of_other_code_or_of_the_other_store_is_refused(tmp_path: Path) -> None:
    """Counts of different code are not added up."""
    made = full("disk")
    made.save(tmp_path / "run.json")
    with pytest.raises(OtherCode, match="store"):
        record.resumed(tmp_path / "run.json", "memory")
    made.code = "0" * 16
    made.save(tmp_path / "run.json")
    assert prove.main(["--seeds", "1", "--resume", str(tmp_path / "run.json")]) == 2


@pytest.mark.long
def test_a_run_goes_on_where_the_last_one_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The seeds that are done are passed over, the counts are added to, and the page is of both."""
    file, page = tmp_path / "run.json", tmp_path / "proof.md"
    assert prove.main(["--seeds", "2", "--resume", str(file)]) == 0
    first = record.load(file)
    assert prove.main(["--seeds", "2", "--workers", "2", "--resume", str(file), "--report", str(page)]) == 0
    both = record.load(file)
    assert first.done == [[0, 2]]
    assert both.done == [[0, 4]]
    assert both.counts["checks"] > first.counts["checks"] > 0
    assert both.seconds > first.seconds
    assert len(both.commands) == 2
    text = page.read_text("utf-8")
    assert "| seeds | 4 |" in text
    assert "--seeds 2 --workers 2" in text
    assert str(tmp_path) not in text
    assert text in capsys.readouterr().out


def broken(task: Task) -> Outcome:
    """What a worker says of a seed that failed."""
    failure = record.Failure(str(task), "V2/n: I2: lost", "  1 t=0.000 a step", task.replay)
    return Outcome(task, "V2/n", failures=[failure])


def test_a_violation_is_told_with_its_story_and_the_command_that_replays_it() -> None:
    """The command names the store too."""
    console, made = quiet(), record.new("memory")
    run = prove.Run(made, 1, None, console, broken)
    run.phase("seeds", prove.seeds(made, 5, 1, float("inf")), 1)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "seed 5: V2/n: I2: lost\n  1 t=0.000 a step" in told
    assert "replay: python -m tests.simulation.prove --from 5 --seeds 1 --store memory" in told
    assert "## Violations" in report.page([made], [])


def test_a_worker_that_dies_is_a_failure_of_what_it_did() -> None:
    """The others go on: `os._exit` ends a worker as a crash in C does."""
    results = list(Workers[int, None](2, os._exit).run(iter([3, 4, 5])))
    assert sorted(one.task for one in results if isinstance(one, Died)) == [3, 4, 5]
    assert {one.code for one in results if isinstance(one, Died)} == {3, 4, 5}


def test_workers_give_every_result_once() -> None:
    """More tasks than workers, in any order."""
    assert sorted(Workers[int, int](2, abs).run(iter(range(-9, 0)))) == list(range(1, 10))  # type: ignore[type-var]


def test_ctrl_c_ends_a_run_with_the_report_so_far(tmp_path: Path) -> None:
    """The record is whole, no worker stays behind, and the exit status says that it was interrupted."""
    file = tmp_path / "run.json"
    words = [
        sys.executable,
        "-m",
        "tests.simulation.prove",
        "--seconds",
        "600",
        "--workers",
        "1",
        "--resume",
        str(file),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(record.ROOT), *filter(None, sys.path)])}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert run.stderr.readline().startswith("seeds over disk")
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate()
    assert run.returncode == prove.INTERRUPTED
    assert record.load(file).failures == []
    assert out.startswith("# Proof")


def test_a_record_says_nothing_about_hosts_users_or_paths() -> None:
    """It becomes a page of the documentation."""
    told = json.dumps([record.machine(), record.commit()])
    assert os.uname().nodename not in told
    assert "/" not in told


def test_the_complete_run_holds_every_set_variant_and_control() -> None:
    """Nothing that is there already is done again."""
    made = record.new("disk")
    tasks = prove.sets_and_controls(made)
    assert len(tasks) == sum(len(one.variants["disk"]) for one in SETS) + len(CONTROLS)
    left = prove.sets_and_controls(full("disk"))
    assert {task.kind for task in left} == {"set"}
    assert KILL_POINTS not in {task.name for task in left}
    assert {task.kind for task in prove.sets_and_controls(record.new("memory"))} == {"set"}


def test_a_run_with_controls_has_each_bug_caught_before_its_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    """As `make prove` runs it: bugs that nothing finds would make its seeds worth nothing."""
    asked = prove.arguments(["--controls", "--seconds", "600", "--from", "7"])
    tasks = prove.fixed(asked, record.new("disk"))
    assert [(task.kind, task.name) for task in tasks] == [("control", one.name) for one in CONTROLS]
    assert prove.fixed(asked, full("disk")) == prove.fixed(asked, record.new("memory")) == []
    assert (
        prove.command(asked)
        == "python -m tests.simulation.prove --store disk --seconds 600.0 --workers 1 --from 7 --controls"
    )
    with pytest.raises(SystemExit):
        prove.arguments([])
    assert "--controls" in capsys.readouterr().err


def test_one_page_tells_of_several_runs() -> None:
    """Both stores, the exhaustive sets, the controls and the real kills."""
    text = report.page([full("disk"), full("memory")], [CRASHES])
    assert "| seeds | 30 | 30 |" in text
    assert "| runs under another reading than V7 | 28 | 28 |" in text
    assert "0 (with 95 % certainty fewer than 1.1e-01 a run)" in text
    assert f"| connect | {2 * len(VARIANTS)} | 2 | {2 * len(VARIANTS)} | 2 |" in text
    assert "| copy started elsewhere | 32 | 2 | no files |" in text
    every = len(ALL_STATIONS) * len(VARIANTS)
    assert f"{every}/{every} covered" in text
    assert f"{len(CONTROLS)}/{len(CONTROLS)} caught" in text
    assert (
        "| forked vaults | sqlite | all | 600 | 400 | 2/3 | 3 |"
        " 0 (with 95 % certainty fewer than 7.5e-03 a kill inside a refresh) |" in text
    )
    assert "token requests for each generation: undisturbed: 1 for 1: 9." in text
    assert "**0**" not in text
    assert "/somewhere" not in text


def test_the_page_says_by_itself_which_runs_are_of_other_code() -> None:
    """By the hash of each record beside that of the code as it is."""
    disk, memory = full("disk"), full("memory")
    assert "Every run of it is of this code." in report.page([disk, memory], [])
    memory.code = "0123456789abcdef"
    other = "to be made anew, are runs over SQLite in memory (code 0123456789abcdef)."
    assert other in report.page([disk, memory], [])


def test_a_fault_that_never_struck_is_shown_as_a_gap() -> None:
    """Under one variant is enough."""
    made = full("disk")
    del made.variants["V7/y"]["fault pause"]
    assert "| pause | 30 | **0** |" in report.page([made], [])


@pytest.mark.parametrize("gap", ["a fault under one reading", "a control", "nothing"])
def test_a_page_with_a_gap_is_no_proof(gap: str, tmp_path: Path) -> None:
    """The exit status says so: of a fault that never struck, and of a bug that was not tried."""
    made = full("disk")
    if gap == "a fault under one reading":
        del made.variants["V7/y"]["fault pause"]
    elif gap == "a control":
        del made.controls[CONTROLS[-1].name]
    made.save(tmp_path / "run.json")
    assert report.main([str(tmp_path / "run.json")]) == (gap != "nothing")
