import numpy as np
import pytest

from fer_core.errors import DataError
from fer_core.stages import Work
from fer_core.trial import FoldResult
from search.cluster.worker import TrialRun


def result(fold, uar=0.5, loss=1.0):
    return FoldResult(
        fold=fold,
        uar=uar,
        war=0.5,
        macro_f1=0.5,
        clips=("a", "b"),
        labels=np.array([0, 1]),
        probabilities=np.full((2, 2), 0.5, np.float32),
        frame_probabilities=np.full((2, 3, 2), 0.5, np.float32),
        losses=(loss,),
        train_seconds=2.0,
        params=10,
        peak_memory_gib=0.1 * (fold + 1),
        device="cpu",
        weights_source="package",
        work=Work(stages_made=1, stages_read=fold),
        skipped={"c": "truncated"},
    )


def begin(folder, results, folds=2):
    return TrialRun(folder, 7, "{}", results=iter(results), folds=folds)


def failing(error):
    yield result(0)
    raise error


def test_the_last_fold_writes_the_part_and_the_predictions(folder):
    run = begin(folder, [result(0, uar=0.4), result(1, uar=0.6)])

    first, ended = run.next_fold()
    assert (first.state, ended, folder.part(7)) == ("pruned", False, None)
    last, ended = run.next_fold()

    assert ended
    assert folder.part(7) == last
    assert (last.state, last.fold_uars, last.train_seconds) == ("complete", (0.4, 0.6), 4.0)
    assert last.work["stages_read"] == 1
    arrays = np.load(folder.predictions(7))
    assert arrays["fold1.frame_probabilities"].shape == (2, 3, 2)
    assert list(arrays["fold0.clips"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("out of\nmemory"), "RuntimeError: out of memory"),
        (DataError("clip a is truncated."), "clip a is truncated."),
    ],
)
def test_an_error_in_a_fold_fails_the_trial_and_is_kept_with_its_traceback(folder, error, said):
    run = begin(folder, failing(error))

    run.next_fold()
    part, ended = run.next_fold()

    assert ended
    assert (part.state, part.error, part.val_uar) == ("failed", said, None)
    assert part.train_seconds == 2.0
    assert folder.part(7) == part
    assert "Traceback" in folder.failure(7).read_text()


@pytest.mark.parametrize("values", [{"uar": float("nan")}, {"loss": float("inf")}])
def test_a_score_or_loss_that_is_not_finite_fails_the_trial(folder, values):
    run = begin(folder, [result(0, **values)])

    part, ended = run.next_fold()

    assert ended
    assert (part.state, part.fold_uars) == ("failed", ())
    assert "not finite" in part.error
