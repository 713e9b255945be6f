"""Which rows compare, and what each refusal says."""

import numpy as np
import pytest

from fer_core.errors import FerError
from fer_core.scoring import score
from fer_core.trial.baselines import NUMBERS
from search.comparison.scored_rows import read
from search.study.folder import Folder, write_arrays

(BASELINE,) = [number for number, pair in NUMBERS.items() if pair == ("emotion", "majority")]


def refused(names, studies, *, sealed=False):
    with pytest.raises(FerError) as found:
        read(names, studies, sealed=sealed)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_a_row_is_called_by_its_family_and_a_baseline_by_its_name(write_study, studies):
    write_study("one", {0: 0.9, 1: 0.5, BASELINE: 0.3})

    rows = read(["one/0", "one/1", f"one/{BASELINE}"], studies, sealed=False)

    assert [row.method for row in rows] == ["geometry+gru", "geometry+lstm", "majority"]
    assert {row.task for row in rows} == {"emotion"}


def test_rows_of_one_family_are_told_apart_by_trial_or_by_study(write_study, studies):
    write_study("one", {0: 0.9, 2: 0.5})
    write_study("two", {0: 0.9})

    of_one = read(["one/0", "one/2"], studies, sealed=False)
    of_two = read(["one/0", "two/0"], studies, sealed=False)

    assert [row.method for row in of_one] == ["geometry+gru 0", "geometry+gru 2"]
    assert [row.method for row in of_two] == ["one/0", "two/0"]


def test_a_row_that_was_given_a_name_has_it(write_study, studies):
    write_study("one", {0: 0.9, 2: 0.5})

    rows = read(["ours=one/0", f"theirs={studies}/one/2"], studies, sealed=False)

    assert [(row.method, row.name) for row in rows] == [("ours", "one/0"), ("theirs", "one/2")]


def test_folds_are_matched_by_their_clips_and_not_by_their_order(write_study, studies):
    write_study("one", {0: 0.9})
    folder = Folder(studies / "one")
    with np.load(folder.predictions(0)) as arrays:
        swapped = {f"fold{2 - int(name[4])}{name[5:]}": arrays[name] for name in arrays}
        (last,) = [score(arrays["fold2.labels"], arrays["fold2.probabilities"]).uar]
    (before,) = read(["one/0"], studies, sealed=False)

    write_arrays(folder.predictions(0), dict(reversed(swapped.items())))

    (after,) = read(["one/0"], studies, sealed=False)
    assert after.fold_uars == before.fold_uars
    assert before.fold_uars[2] == last


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"protocol_id": "other"}, "split sealed20-cv5-00000000 and other"),
        ({"data_sha256": "e"}, "data d and e"),
        ({"landmarks": "dlib"}, "landmarks data and dlib"),
        ({"clip": {"frames": 3}}, 'frames of each space and {"frames": 3}'),
        ({"subjects": 4}, "different clips (54 and 72)"),
    ],
    ids=str,
)
def test_rows_of_one_dataset_that_do_not_compare_are_refused(write_study, studies, option, words):
    write_study("one", {0: 0.9})
    write_study("two", {1: 0.9}, **option)

    assert words in refused(["one/0", "two/1"], studies)


def test_rows_that_were_scored_on_other_folds_are_refused(write_study, studies):
    write_study("one", {0: 0.9, 1: 0.9})
    folder = Folder(studies / "one")
    with np.load(folder.predictions(1)) as arrays:
        joined = {
            f"fold0.{name}": np.concatenate([arrays[f"fold{i}.{name}"] for i in range(3)])
            for name in ("clips", "subjects", "labels", "probabilities")
        }
        write_arrays(folder.predictions(1), joined)

    assert "other folds" in refused(["one/0", "one/1"], studies)


def test_rows_of_other_datasets_need_not_compare(write_study, studies):
    write_study("one", {0: 0.9})
    write_study("two", {0: 0.9}, dataset="folder", data_root="/my/photos", data_sha256="e")

    rows = read(["one/0", "two/0"], studies, sealed=False)

    assert [row.dataset for row in rows] == ["synthetic", "photos"]


def test_two_rows_of_a_method_on_one_of_several_datasets_are_refused(write_study, studies):
    write_study("one", {0: 0.9, 2: 0.5})
    write_study("two", {0: 0.9}, dataset="ck_plus")

    said = refused(["one/0", "one/2", "two/0"], studies)

    assert said == (
        "one/0 and one/2 are both geometry+gru on synthetic: name the methods apart, as in "
        "NAME=ROW."
    )


def test_rows_without_usable_predictions_are_refused_with_the_reason(
    write_study, studies, make_result
):
    write_study("one", {0: 0.9, 1: 0.9, 2: 0.9})
    folder = Folder(studies / "one")
    folder.predictions(1).unlink()
    folder.predictions(2).write_bytes(b"PK")
    folder.write_result(make_result(3, state="pruned"))
    folder.write_result(make_result(4, state="failed", config=None, error="out of memory"))

    assert "row one/1 has no predictions" in refused(["one/0", "one/1"], studies)
    assert "2.npz is damaged" in refused(["one/0", "one/2"], studies)
    assert "row one/3 is pruned" in refused(["one/0", "one/3"], studies)
    assert "row one/4 is failed" in refused(["one/0", "one/4"], studies)
    assert "named twice" in refused(["a=one/0", "b=one/0"], studies)
    assert "no finished trial 9" in refused(["one/0", "one/9"], studies)


def test_only_rows_that_had_their_sealed_test_compare_on_the_sealed_side(write_study, studies):
    write_study("one", {0: 0.9, 1: 0.5, 2: 0.5}, sealed=(0, 1))

    rows = read(["one/0", "one/1"], studies, sealed=True)

    assert [len(row.predictions.clips) for row in rows] == [18, 18]
    assert "row one/2 had no sealed test" in refused(["one/0", "one/2"], studies, sealed=True)


def test_rows_of_the_same_files_compare_though_their_folder_was_renamed(write_study, studies):
    write_study("one", {0: 0.9}, dataset="folder", data_root="/data/faces")
    write_study("two", {0: 0.9}, dataset="folder", data_root="/moved/people")
    write_study("three", {0: 0.9}, dataset="folder", data_root="/other", data_sha256="other")

    rows = read(["a=one/0", "b=two/0", "a=three/0"], studies, sealed=False)

    assert [row.dataset for row in rows] == ["faces", "faces", "other"]
