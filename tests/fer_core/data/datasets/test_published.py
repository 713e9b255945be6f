"""Protocols and totals, on manifests as complete copies give them."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fer_core.data import protocol
from fer_core.data.dataset import difference
from fer_core.data.datasets import DATASETS
from fer_core.data.manifest import Clip, build
from fer_core.errors import ProtocolError

CK_SUBJECTS = [f"S{number:03d}" for number in range(5, 123)]
PEOPLE = {  # of a complete copy, in ascending order
    "sase_fe": [str(number) for number in range(1, 51)],
    "ck_plus": CK_SUBJECTS,
    "mmi": [f"S{number:03d}" for number in range(1, 32)],
    "kdef": [f"{sex}{number:02d}" for sex in "FM" for number in range(1, 36)],
    "jaffe": ["KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM"],
} | {name: [f"P{number:03d}" for number in range(1, 81)] for name in DATASETS if "oulu" in name}
PEOPLE["kdef_all"] = PEOPLE["kdef"]
PARTS = {
    "affectnet": {"train": 40, "test": 4},
    "dfew": {"1": 4, "2": 4, "3": 4, "4": 4, "5": 4},
    "fer2013": {"train": 20, "val": 4, "test": 5},
    "ferplus": {"train": 20, "val": 4, "test": 5},
    "raf_db": {"train": 25, "test": 5},
    "raf_db_aligned": {"train": 25, "test": 5},
}
PUBLISHED = [(name, key) for name, dataset in DATASETS.items() for key in dataset.protocols]


def made(dataset, pairs):
    """Make a manifest of (subject, emotion, part); where nobody knows the subject it is None."""
    clips = [
        Clip(
            clip=f"{number:05d}",
            subject=subject or f"{number:05d}",
            emotion=emotion,
            authenticity=None,
            path=Path(f"{number}.jpg"),
            sha256=str(number),
            part=part,
        )
        for number, (subject, emotion, part) in enumerate(pairs)
    ]
    return build(dataset, Path(), clips)


def complete(name):
    emotions = ("anger", "fear")
    if name in PEOPLE:
        return made(name, [(who, emotion, None) for who in PEOPLE[name] for emotion in emotions])
    assert name in PARTS, f"add '{name}' to PEOPLE (its subjects) or to PARTS (sizes of its parts)"
    parts = PARTS[name].items()
    return made(name, [(None, emotions[i % 5 > 0], part) for part, n in parts for i in range(n)])


def split(name, key):
    return DATASETS[name].protocols[key].split(complete(name))


@pytest.mark.parametrize(("name", "key"), PUBLISHED)
def test_a_published_protocol_puts_every_subject_of_a_complete_copy_on_one_side(name, key):
    manifest = complete(name)

    given = split(name, key)

    protocol.check(given, manifest)
    assert given.name == key
    assert all(given.folds)
    assert sorted((*given.sealed, *given.development)) == list(manifest.subjects)


@pytest.mark.parametrize(("name", "key"), PUBLISHED)
def test_a_published_protocol_says_who_published_it_or_that_nobody_did(name, key):
    about = DATASETS[name].protocols[key].about

    assert re.search(r"\b20\d\d\b|our own, because no", about)


@pytest.mark.parametrize(("name", "key"), PUBLISHED)
def test_a_published_protocol_says_in_one_line_that_it_does_not_apply(name, key):
    small = made(name, [("someone", "anger", None)])

    if key == "loso":
        assert DATASETS[name].protocols[key].split(small).folds == (("someone",),)
    else:
        with pytest.raises(ProtocolError) as caught:
            DATASETS[name].protocols[key].split(small)
        assert "\n" not in str(caught.value)


def test_oulu_has_ten_folds_of_eight_neighbours_and_reads_the_last_three_frames():
    folds = split("oulu_casia", "10fold").folds

    assert [len(fold) for fold in folds] == [8] * 10
    assert folds[0] == tuple(f"P{number:03d}" for number in range(1, 9))
    clip = DATASETS["oulu_casia"].protocols["10fold"].clip
    assert (clip.sampling, clip.frames) == ("last", 3)


def test_sase_fe_has_ten_folds_of_five_by_number():
    folds = split("sase_fe", "10fold").folds

    assert folds[1] == ("6", "7", "8", "9", "10")


def test_the_challenge_of_sase_fe_is_forty_five_and_five():
    given = split("sase_fe", "challenge")

    assert (len(given.train), len(given.folds[0]), len(given.sealed)) == (40, 5, 5)
    assert given.folds == (("41", "42", "43", "44", "45"),)


def test_the_challenge_names_the_subjects_that_a_copy_lacks():
    manifest = complete("sase_fe")
    rest = tuple(clip for clip in manifest.clips if clip.subject != "47")

    with pytest.raises(ProtocolError, match=r"missing, or are not among the 50: 47\."):
        DATASETS["sase_fe"].protocols["challenge"].split(replace(manifest, clips=rest))


@pytest.mark.parametrize("folds", [8, 10])
def test_ck_plus_deals_its_subjects_out_in_ascending_order(folds):
    given = split("ck_plus", f"{folds}fold").folds

    assert len(given) == folds
    assert given[0] == tuple(CK_SUBJECTS[::folds])


def test_jaffe_leaves_one_subject_out_at_a_time():
    assert split("jaffe", "loso").folds == tuple((subject,) for subject in PEOPLE["jaffe"])


@pytest.mark.parametrize("name", ["fer2013", "ferplus"])
def test_public_test_chooses_and_private_test_is_sealed(name):
    given = split(name, "official")

    assert (len(given.train), len(given.folds[0]), len(given.sealed)) == (20, 4, 5)
    assert len(given.folds) == 1


def test_without_a_validation_part_fifths_of_train_choose_with_equal_class_shares():
    manifest = complete("raf_db")
    emotion_of = {clip.subject: clip.emotion for clip in manifest.clips}

    given = split("raf_db", "official")

    shares = [Counter(emotion_of[subject] for subject in fold) for fold in given.folds]
    assert shares == [{"anger": 1, "fear": 4}] * 5
    assert given.train == ()


def test_a_tenth_of_affectnets_training_set_is_held_out():
    given = split("affectnet", "official")

    assert (len(given.folds), len(given.folds[0]), len(given.train)) == (1, 4, 36)


def test_a_fold_of_dfew_seals_its_test_clips_and_the_other_folds_choose():
    manifest = complete("dfew")

    given = split("dfew", "fold2")

    assert given.sealed == tuple(clip.subject for clip in manifest.clips if clip.part == "2")
    assert len(given.folds) == 4


def test_a_complete_copy_differs_in_nothing():
    counts = DATASETS["ck_plus"].totals[0].classes
    shown = [emotion for emotion, clips in counts.items() for _ in range(clips)]
    pairs = [(CK_SUBJECTS[i % 118], emotion, None) for i, emotion in enumerate(shown)]

    assert difference(made("ck_plus", pairs), DATASETS["ck_plus"].totals) == ()
    assert difference(made("ck_plus", pairs[1:]), DATASETS["ck_plus"].totals) == (
        "clips: 326 here, 327 in a complete copy (Lucey et al. 2010)",
        "anger: 44 here, 45 in a complete copy (Lucey et al. 2010)",
    )


def test_what_is_left_out_accounts_for_what_a_copy_lacks():
    people = [(who, e, None) for who in PEOPLE["oulu_casia"] for e in OULU_EMOTIONS]
    lacking = replace(made("oulu_casia", people[1:]), left_out=(("P001/Anger", "it is empty"),))

    assert difference(lacking, DATASETS["oulu_casia"].totals) == ()
    assert lacking.missing_share() == 1 / 480


OULU_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def test_a_copy_is_compared_with_the_release_that_it_is_nearest_to():
    emotions = ("anger", "contempt", "disgust", "happiness", "sadness", "surprise")
    people = [(str(n), e, None) for n in range(1, 41) for e in emotions for _ in range(2)]

    assert difference(made("sase_fe", people), DATASETS["sase_fe"].totals) == ()
    (missing, *_) = difference(made("sase_fe", people[12:]), DATASETS["sase_fe"].totals)
    assert missing == "subjects: 39 here, 40 in a complete copy (the challenge's training part)"


def test_a_dataset_without_known_totals_differs_in_nothing():
    assert difference(made("folder", [("ann", "joy", None)]), ()) == ()
