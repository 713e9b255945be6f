"""The real command, interrupted. Slow, since each start of it starts Ray too."""

import os
import signal

import pytest

from tests.search.running_study import (
    TRIALS,
    begin,
    board_trials,
    go_on,
    wait_for_parts,
)

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_study_ends_with_130_and_goes_on(start, tmp_path, name):
    driver = begin(start, tmp_path)
    wait_for_parts(driver, tmp_path, 3)

    if name == "SIGINT":
        os.killpg(driver.pid, signal.SIGINT)  # as Ctrl-C does: to Ray's processes too
    else:
        os.kill(driver.pid, signal.SIGTERM)  # Ray's would end, and the driver with them, with 1

    assert driver.wait(timeout=60) == 130
    assert 3 <= len(board_trials(tmp_path)) < TRIALS
    assert go_on(start, tmp_path).wait() == 0
    assert len(board_trials(tmp_path)) == TRIALS
