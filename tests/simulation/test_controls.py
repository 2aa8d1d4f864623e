"""Negative controls: every seeded bug is caught, naming invariant and seed, or the simulation proves nothing."""

from __future__ import annotations

import pytest
from tests.simulation.controls import CONTROLS, Control, catch
from tests.simulation.patch import Patch, TargetGone

from cloudbeds_auth.engine import commit


@pytest.mark.long
@pytest.mark.parametrize("control", CONTROLS, ids=[control.name for control in CONTROLS])
def test_a_seeded_bug_is_caught(control: Control) -> None:
    """Within its seeds, by an invariant that names it, with the steps that led there."""
    caught = catch(control)
    assert caught is not None, f"{control.name} was not caught in {control.seeds} seeds"
    assert caught.invariant in control.caught_by, f"{caught}\n{caught.result.story}"
    assert caught.result.story


def test_a_control_whose_target_is_gone_fails() -> None:
    """A control must not quietly stop meaning something."""
    with Patch() as patch, pytest.raises(TargetGone):
        patch.put(commit.Committer, "no_such_method", None)
