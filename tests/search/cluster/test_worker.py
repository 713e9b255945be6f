import errno
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from fer_core.errors import DataError
from fer_core.scoring import SCORING_VERSION, score
from fer_core.storage.stages import Work
from fer_core.trial import rungs
from fer_core.trial.results import FoldResult
from search.cluster.worker import ActivePack, finish_alone

RUNGS = rungs.rungs(2, raced=True)


@dataclass
class AtRung:
    member: int
    results: tuple
    error: Exception | None = None


class Race:
    """Members that all come to each rung, but for those that were sent out."""

    def __init__(self, members, rungs, fold=None, broken=None):
        self.sent, self.closed = [], False
        self._members, self._rungs = members, rungs
        self._fold, self._broken = fold or (lambda member, fold: fold_result(fold)), broken or {}

    def run(self):
        members = list(range(self._members))
        try:
            for place, rung in enumerate(self._rungs):
                at_rungs = [self._at_rung(member, rung, place) for member in members]
                gone = yield at_rungs
                self.sent.append(set(gone or ()))
                members = [
                    s.member for s in at_rungs if s.error is None and s.member not in self.sent[-1]
                ]
        finally:
            self.closed = True

    def _at_rung(self, member, rung, place):
        error = self._broken.get((member, place))
        folds = tuple(self._fold(member, fold) for fold in rung.folds)
        return AtRung(member, folds[:1] if error else folds, error)


def fold_result(fold, uar=0.5, loss=1.0):
    """Twenty clips of two classes and four people, of which the share `uar` is predicted right."""
    labels = np.repeat([0, 1], 10)
    right = np.tile(np.arange(10) < np.round(10 * uar), 2)
    probabilities = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    return FoldResult(
        fold=fold,
        metrics=replace(score(labels, probabilities), uar=uar),
        clips=tuple(f"{fold}-{clip}" for clip in range(20)),
        subjects=np.array([f"{fold}-{clip % 4}" for clip in range(20)]),
        labels=labels,
        probabilities=probabilities,
        frame_probabilities=np.repeat(probabilities[:, None], 3, axis=1),
        losses=(loss,),
        train_seconds=2.0,
        params=10,
        peak_memory_gib=0.1 * (fold + 1),
        device="cpu",
        weights_source="package",
        work=Work(stages_made=1, stages_read=fold),
        skipped={"c": "truncated"},
    )


def begin(folder, race, numbers=(7, 8, 9)):
    return ActivePack(folder, dict.fromkeys(numbers, "{}"), race.run(), RUNGS)


def run_all(pack):
    found, done = [], False
    while not done:
        parts, done = pack.next_rung(())
        found.append(parts)
    return found


def test_the_last_rung_writes_each_members_part_and_predictions(folder):
    race = Race(3, RUNGS, fold=lambda member, fold: fold_result(fold, uar=0.1 * (member + fold)))

    *earlier, last = run_all(begin(folder, race))

    assert {result.state for parts in earlier for result in parts} == {"pruned"}
    assert [folder.result(number) for number in (7, 8, 9)] == last
    assert [result.number for result in last] == [7, 8, 9]
    result = last[2]
    assert (result.state, len(result.fold_uars), result.train_seconds) == ("complete", 2, 4.0)
    assert result.rung_uars == pytest.approx((0.2, 0.2, 0.2, 0.25))
    assert result.val_uar == pytest.approx(0.25)
    assert result.val_metrics["uar_low"] < 0.25 < result.val_metrics["uar_high"]
    assert (result.subjects, result.clips, result.scoring_version) == (8, 40, SCORING_VERSION)
    assert result.work["stages_read"] == 1
    arrays = np.load(folder.predictions(9))
    assert arrays["fold1.frame_probabilities"].shape == (20, 3, 2)
    assert list(arrays["fold0.clips"][:2]) == ["0-0", "0-1"]
    assert list(arrays["fold0.subjects"][:2]) == ["0-0", "0-1"]
    assert race.closed


def test_members_that_leave_are_sent_out_of_the_race_and_write_nothing(folder):
    race = Race(3, RUNGS)
    pack = begin(folder, race)

    pack.next_rung(())
    parts, _ = pack.next_rung([8])

    assert [result.number for result in parts] == [7, 9]
    assert race.sent == [{1}]
    assert folder.result(8) is None


def test_an_unfinished_member_says_how_far_it_came(folder):
    pack = begin(folder, Race(1, RUNGS), numbers=(7,))

    (result,), done = pack.next_rung(())

    assert not done
    assert (result.state, result.reached) == ("pruned", str(RUNGS[0]))
    assert folder.result(7) is None


def test_members_share_the_time_of_their_pack(folder):
    *_, (first, second) = run_all(begin(folder, Race(2, RUNGS), numbers=(7, 8)))

    assert first.seconds == second.seconds > 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        (DataError("clip a is truncated."), "clip a is truncated."),
    ],
)
def test_a_members_error_fails_it_alone_and_is_kept_with_its_traceback(folder, error, said):
    pack = begin(folder, Race(2, RUNGS, broken={(0, 1): error}), numbers=(7, 8))

    pack.next_rung(())
    (failed, other), done = pack.next_rung(())
    run_all(pack)

    assert (failed.state, failed.error, failed.val_uar) == ("failed", said, None)
    assert failed.train_seconds == 2.0
    assert folder.result(7) == failed
    assert "Traceback" in folder.failure(7).read_text() or "Error" in folder.failure(7).read_text()
    assert not done
    assert (other.state, folder.result(8).state) == ("pruned", "complete")


@pytest.mark.parametrize("values", [{"uar": float("nan")}, {"loss": float("inf")}])
def test_a_score_or_loss_that_is_not_finite_fails_its_member_and_sends_it_out(folder, values):
    race = Race(
        2, RUNGS, fold=lambda m, fold: fold_result(fold, **values) if m else fold_result(fold)
    )
    pack = begin(folder, race, numbers=(7, 8))

    (_, failed), _ = pack.next_rung(())
    parts, _ = pack.next_rung(())

    assert (failed.state, failed.fold_uars) == ("failed", ())
    assert "not finite" in failed.error
    assert race.sent == [{1}]
    assert [result.number for result in parts] == [7]


def test_an_error_of_the_race_fails_all_members(folder):
    def broken():
        raise RuntimeError("no such kernel")
        yield

    pack = ActivePack(folder, {7: "{}", 8: "{}"}, broken(), RUNGS)

    parts, done = pack.next_rung(())

    assert done
    assert [result.state for result in parts] == ["failed", "failed"]


def test_a_full_disk_fails_nobody(folder):
    full = OSError(errno.ENOSPC, "no space left on device", "store/x.npy")
    wrapped = DataError("the stage cannot be made.")
    wrapped.__cause__ = full
    pack = begin(folder, Race(2, RUNGS, broken={(0, 0): wrapped}), numbers=(7, 8))

    with pytest.raises(DataError):
        pack.next_rung(())

    assert folder.result(7) is folder.result(8) is None


def test_a_member_that_was_stopped_does_not_write_over_its_part(folder, make_result):
    folder.write_result(stopped := make_result(7, state="pruned"))

    run_all(begin(folder, Race(1, RUNGS), numbers=(7,)))

    assert folder.result(7) == stopped


def test_a_pack_that_is_closed_leaves_nothing_running(folder):
    race = Race(2, RUNGS)
    pack = begin(folder, race, numbers=(7, 8))
    pack.next_rung(())

    pack.close()

    assert race.closed


def test_what_is_no_pack_runs_alone_through_its_folds(folder):
    ended = finish_alone(folder, -1, iter([fold_result(0, uar=0.4), fold_result(1, uar=0.6)]))

    assert (ended.state, ended.fold_uars, ended.rung_uars) == ("complete", (0.4, 0.6), ())
    assert folder.result(-1) == ended


def test_what_runs_alone_may_fail(folder):
    def failing():
        yield fold_result(0)
        raise RuntimeError("out of memory")

    ended = finish_alone(folder, -1, failing())

    assert (ended.state, ended.error) == ("failed", "RuntimeError: out of memory")
    assert folder.result(-1) == ended


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
    MemoryError(),
]


@pytest.mark.parametrize("error", SHORT)
def test_a_member_that_runs_out_of_memory_writes_nothing_and_the_others_go_on(folder, error):
    pack = begin(folder, Race(2, RUNGS, broken={(0, 1): error}), numbers=(7, 8))

    *_, last = run_all(pack)

    assert pack.out_of_memory == [7]
    assert folder.result(7) is None
    assert [result.number for result in last] == [8]


def test_a_member_that_runs_out_of_memory_on_the_largest_share_fails_and_says_what_helps(folder):
    race = Race(1, RUNGS, broken={(0, 0): SHORT[0]})
    pack = ActivePack(folder, {7: "{}"}, race.run(), RUNGS, largest="1 CPUs and 1 GPUs")

    ((result,),) = run_all(pack)

    assert (result.state, pack.out_of_memory) == ("failed", [])
    assert result.error == (
        "out of memory, twice, the second time alone on 1 CPUs and 1 GPUs: OutOfMemoryError: CUDA "
        "out of memory. Tried to allocate 2.00 GiB; choose a smaller optimizer.batch_clips, or a "
        "larger --gpus-per-head or --gpus-per-trial."
    )
    assert "Tried to allocate" in folder.failure(7).read_text()


def test_a_race_that_runs_out_of_memory_is_that_of_all_its_members(folder):
    def broken():
        raise SHORT[0]
        yield

    pack = ActivePack(folder, {7: "{}", 8: "{}"}, broken(), RUNGS)

    assert pack.next_rung(()) == ([], True)
    assert pack.out_of_memory == [7, 8]


def test_a_device_that_fails_fails_no_trial(folder):
    error = RuntimeError("CUDA error: an illegal memory access was encountered")
    pack = begin(folder, Race(2, RUNGS, broken={(0, 0): error}), numbers=(7, 8))

    with pytest.raises(RuntimeError, match="illegal memory access"):
        pack.next_rung(())

    assert folder.result(7) is folder.result(8) is None
