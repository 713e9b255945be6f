from pathlib import Path

import pytest

from fer_core.data import subjects
from fer_core.data.manifest import Clip, build
from fer_core.errors import FerError


def manifest(clips_of):
    """Clips of subjects, by their numbers of clips."""
    rows = [
        Clip(
            clip=f"{subject}/{k}",
            subject=f"s{subject}",
            emotion="joy",
            authenticity=None,
            path=Path(f"{subject}/{k}.jpg"),
            sha256=f"{subject}-{k}",
        )
        for subject, count in enumerate(clips_of)
        for k in range(count)
    ]
    return build("folder", Path(), rows)


@pytest.mark.parametrize(
    ("clips_of", "kind"),
    [
        ([1] * 20, "by-clip"),
        ([1] * 90 + [2] * 5, "by-clip"),
        ([1] * 89 + [11], "subject-independent"),
        ([2] * 10, "subject-independent"),
    ],
)
def test_a_split_is_by_clip_where_nine_of_ten_clips_are_alone_in_their_subject(clips_of, kind):
    assert subjects.kind_of_split(manifest(clips_of)) == kind


@pytest.mark.parametrize(
    "names",
    [
        ("Subj3", "subj3"),
        ("1", "01"),
        ("S01", "S1"),
        ("anna maria", "Anna_Maria"),
        ("anna-maria", "annamaria"),
        ("P3", "P-3"),
        (" 7", "7"),
    ],
)
def test_names_that_differ_in_spelling_only_are_similar(names):
    assert subjects.similar_names([*names, "another"]) == [tuple(sorted(names))]


@pytest.mark.parametrize("names", [("1", "10"), ("1_12", "11_2"), ("1_12", "112"), ("0", "00_1")])
def test_names_that_count_differently_are_not_similar(names):
    assert subjects.similar_names(names) == []


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (r"/(\w+?)_", "Subj3"),
        (r"(happy|sad)/(?P<subject>[A-Za-z]+\d)", "Subj3"),
        (r"^(sad)?", None),
        (r"(nobody)", None),
    ],
)
def test_the_first_group_or_the_one_named_subject_is_the_subject(text, subject):
    assert subjects.found(subjects.pattern(text, "folder"), "happy/Subj3_a.jpg") == subject


@pytest.mark.parametrize(
    ("text", "dataset", "message"),
    [
        (r"(\d+", "folder", r"is no regular expression: .*an example is"),
        (r"\d+_", "folder", r"has no group; put .* into round brackets, as in"),
        (r"(\d+)_", "jaffe", r"for the dataset 'folder' only; 'jaffe' has its own rule"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_in_one_line(text, dataset, message):
    with pytest.raises(FerError, match=message):
        subjects.pattern(text, dataset)
