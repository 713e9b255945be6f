import numpy as np

from search.results import predictions
from search.study.folder import write_arrays


def fold(clips, subjects, probabilities):
    labels = np.zeros(len(clips), int)
    arrays = {"clips": clips, "subjects": subjects, "labels": labels}
    return {name: np.array(values) for name, values in arrays.items()} | {
        "probabilities": np.array(probabilities, np.float32)
    }


def test_the_folds_of_a_trial_are_joined_in_the_order_of_the_clips(folder):
    first = fold(["c", "a"], ["p", "q"], [[0.9, 0.1], [np.nan, np.nan]])
    second = fold(["b"], ["r"], [[0.2, 0.8]])
    arrays = {f"fold0.{name}": value for name, value in first.items()}
    write_arrays(
        folder.predictions(3), arrays | {f"fold1.{name}": value for name, value in second.items()}
    )

    found = predictions.read(folder, 3)

    assert found.clips.tolist() == ["a", "b", "c"]
    assert found.subjects.tolist() == ["q", "r", "p"]
    assert found.folds.tolist() == [0, 1, 0]
    assert found.right.tolist() == [False, False, True]


def test_the_predictions_of_a_sealed_test_are_read(folder):
    write_arrays(folder.predictions(3, sealed=True), fold(["b", "a"], ["p", "q"], [[1, 0], [0, 1]]))

    found = predictions.read(folder, 3, sealed=True)

    assert found.clips.tolist() == ["a", "b"]
    assert found.right.tolist() == [False, True]
    assert predictions.read(folder, 3) is None
