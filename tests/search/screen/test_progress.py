import heapq
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from search.screen.cluster_state import ClusterState
from search.screen.progress import NORMAL, QUIET, Progress
from search.screen.remaining import LEAST, predict


def screen(progress):
    console = Console(file=io.StringIO(), width=100)
    console.print(progress)
    return console.file.getvalue()


def test_before_the_first_trial_a_terminal_shows_a_bar_of_what_is_prepared():
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True))

    empty = screen(progress)
    progress.prepared(20, 51)

    assert empty.strip() == ""
    assert "prepared 20 of 51 parts of the dataset" in screen(progress)
    assert "━" in screen(progress)


def test_where_there_is_no_terminal_about_ten_lines_tell_of_it():
    console = Console(file=io.StringIO())

    progress = Progress(console=console)
    for done in range(1, 52):
        progress.prepared(done, 51)

    lines = console.file.getvalue().splitlines()
    assert lines[-1] == "prepared 51 of 51 parts of the dataset"
    assert 8 <= len(lines) <= 12


def test_what_is_prepared_has_a_time_left_which_begins_anew_with_each_stage(monkeypatch):
    now = iter([0.0, *np.arange(0.0, 1000.0, 10.0)])
    monkeypatch.setattr("search.screen.progress.time.monotonic", lambda: next(now))
    console = Console(file=io.StringIO())
    progress = Progress(console=console)

    for done in range(1, 5):
        progress.prepared(done, 4, "examined")
    for done in range(2, 5):
        progress.prepared(done, 4)

    assert console.file.getvalue().splitlines() == [
        "examined 1 of 4 parts of the dataset",
        "examined 2 of 4 parts of the dataset, about 20 s left",
        "examined 3 of 4 parts of the dataset, about 10 s left",
        "examined 4 of 4 parts of the dataset",
        "prepared 2 of 4 parts of the dataset",
        "prepared 3 of 4 parts of the dataset, about 10 s left",
        "prepared 4 of 4 parts of the dataset",
    ]


def test_clips_that_cannot_be_used_are_shown_once_and_alike_ones_together(make_result):
    console = Console(file=io.StringIO(), width=300, soft_wrap=True)
    progress = Progress(console=console)
    lost = {f"{i}.png": "no face found." for i in range(50)}

    progress.skipped(lost)
    progress.begin(2, [])
    progress.finished(make_result(0, skipped=lost | {"x.png": "points fit no face"}))
    progress.finished(make_result(1, skipped=lost))

    said = [line for line in console.file.getvalue().splitlines() if "skipped" in line]
    assert said == [
        "skipped 50 clips: no face found; the first are 0.png, 1.png, 2.png",
        "skipped x.png: points fit no face",
    ]


def test_a_stopped_trial_says_how_far_it_came_and_what_the_store_saved(make_result):
    console = Console(file=io.StringIO(), width=300)
    progress = Progress(console=console)
    progress.begin(5, [])
    work = {"stages_made": 2, "stages_read": 3, "stages_held": 4, "seconds_saved": 12.3}

    progress.finished(make_result(0, work=work))
    progress.finished(
        make_result(1, state="pruned", uars=(0.2,), reached="0.25 of fold 1", work=work)
    )

    line = console.file.getvalue().splitlines()[-1]
    assert "pruned at 0.25 of fold 1: val_uar 0.200" in line
    stages = "stages: 4 computed, 6 from the store, 8 from memory, 25 s saved"
    assert f"[2/5; best 0.600; {stages}]" in line


def test_the_parts_of_a_line_are_explained_before_the_first_trial_and_not_to_who_wants_quiet():
    console = Console(file=io.StringIO(), width=80)
    for verbosity in (NORMAL, QUIET):
        Progress(console=console, verbosity=verbosity).begin(5, [])

    printed = console.file.getvalue()
    for part in ("finished/all", "best: ", "stages: ", "left: ", "P90"):
        assert printed.count(part) == 1


def test_eighty_columns_hold_the_live_screen(make_result):
    progress = Progress(console=Console(file=io.StringIO()))
    work = {"stages_made": 1719, "stages_read": 1408, "stages_held": 1816, "seconds_saved": 4790}
    progress.begin(200, [make_result(number, seconds=500.0, work={}) for number in range(99)])
    progress.finished(make_result(99, seconds=500.0, work=work))
    console = Console(file=io.StringIO(), width=80)

    console.print(progress)

    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert "100 complete, 0 pruned, 0 failed of 200" in lines[1]
    assert "left (P90" in lines[2]
    assert "1719 computed, 1408 from the store, 1816 from memory, 4790 s saved" in lines[3]


def test_the_time_to_the_end_is_said_once_enough_trials_tell_of_it(make_result):
    console = Console(file=io.StringIO(), width=300)
    progress = Progress(console=console)
    progress.begin(10, [make_result(number, seconds=10.0) for number in range(LEAST - 1)])
    progress.workers = 2

    progress.finished(make_result(LEAST - 1, seconds=10.0))

    assert f"{40} s left (P90 40 s)" in console.file.getvalue()


def test_nothing_is_predicted_from_two_trials_or_for_none():
    assert predict([1.0] * (LEAST - 1), 5, 1) is None
    assert predict([1.0] * LEAST, 0, 1) is None


@pytest.mark.parametrize(("seen", "left", "workers"), [(4, 20, 2), (12, 4, 2), (30, 100, 8)])
def test_nine_of_ten_studies_end_within_the_p90(seen, left, workers):
    generator = np.random.default_rng(1)
    kept, ratios = 0, []

    for _ in range(400):
        predicted = predict(generator.gamma(4, size=seen), left, workers)
        free = [0.0] * workers
        for seconds in generator.gamma(4, size=left):
            heapq.heapreplace(free, free[0] + seconds)
        kept += max(free) <= predicted.p90
        ratios.append(max(free) / predicted.seconds)

    assert 0.8 <= kept / 400 <= 0.96
    assert 0.9 <= np.median(ratios) <= 1.1


def printed_of(*looks):
    console = Console(file=io.StringIO(), width=300)
    progress = Progress(console=console)
    progress.begin(5, [])
    console.file.truncate(0)
    console.file.seek(0)
    for sample, pending, preempted in looks:
        progress.on_nodes(sample, pending, preempted)
    return progress, console.file.getvalue().splitlines()


def test_a_node_that_is_lost_is_said_and_so_are_the_trials_it_took_along():
    both = ClusterState(nodes=2, gpus=2, gpus_used=2, joined=("10.0.0.2", "10.0.0.3"))
    one = ClusterState(nodes=1, gpus=1, gpus_used=1, lost=("10.0.0.3",))
    back = ClusterState(nodes=2, gpus=2, gpus_used=1, joined=("10.0.0.3",))

    progress, lines = printed_of((both, 0, 0), (one, 3, 2), (back, 2, 2))

    assert lines == [
        "node 10.0.0.3 is lost (1 nodes, 1 of 1 GPUs in use, 3 pending, 2 preempted)",
        "2 trials go on elsewhere (1 nodes, 1 of 1 GPUs in use, 3 pending, 2 preempted)",
        "node 10.0.0.3 has joined (2 nodes, 1 of 2 GPUs in use, 2 pending, 2 preempted)",
    ]
    assert "2 nodes, 1 of 2 GPUs in use" in screen(progress)


def elsewhere(lines):
    return [int(line.split()[0]) for line in lines if "elsewhere" in line]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=8))
def test_however_late_their_errors_come_each_trial_that_lost_its_node_is_said_once(steps):
    preempted, looks = 0, [(ClusterState(nodes=9, gpus=0, gpus_used=0), 0, 0)]
    for hit, lost in steps:
        preempted += hit
        gone = tuple(f"10.0.0.{place}" for place in range(lost))
        looks.append((ClusterState(nodes=9, gpus=0, gpus_used=0, lost=gone), 0, preempted))

    _, lines = printed_of(*looks)

    assert sum(elsewhere(lines)) == preempted
    assert 0 not in elsewhere(lines)
    assert sum("is lost" in line for line in lines) == sum(lost for _, lost in steps)


def test_a_node_that_was_idle_has_left_and_is_not_lost():
    both = ClusterState(nodes=2, gpus=2, gpus_used=0, joined=("10.0.0.2", "10.0.0.3"))
    one = ClusterState(nodes=1, gpus=1, gpus_used=0, left=("10.0.0.3",))

    _, lines = printed_of((both, 0, 0), (one, 0, 0))

    assert lines == ["node 10.0.0.3 has left (1 nodes, 0 of 1 GPUs in use, 0 pending, 0 preempted)"]


def test_of_a_single_node_nothing_is_said(make_result):
    progress, lines = printed_of((ClusterState(nodes=1, gpus=1, gpus_used=1, joined=("a",)), 3, 0))

    assert lines == []
    assert "nodes" not in screen(progress)
