"""Labels and subjects from the folders in which files lie."""

import pytest

from fer_core.data.datasets import load
from fer_core.data.other_files import others
from fer_core.errors import DataError, FerError


def read(root, **rules):
    manifest = load("folder", root, **rules)
    return {clip.clip: (clip.subject, clip.emotion) for clip in manifest.clips}, manifest


def test_folders_of_subjects_with_folders_of_labels_are_read_and_it_is_said(tmp_path, write):
    for subject in ("001", "002", "003"):
        for label in ("neutral", "smiling"):
            write(tmp_path / subject / label / "x.png")

    clips, manifest = read(tmp_path)

    assert clips["002/smiling/x.png"] == ("002", "smiling")
    assert len(clips) == 6
    assert manifest.remarks == (
        "labels: neutral 3, smiling 3 (the second folder); "
        "subjects: 3, 001, 002, 003 (the first folder)",
    )


def test_folders_of_labels_with_folders_of_subjects_are_read_as_well(tmp_path, write):
    for subject in ("001", "002", "003"):
        for label in ("Happy", "Sad"):
            write(tmp_path / label / subject / "x.png")

    clips, manifest = read(tmp_path)

    assert clips["Happy/002/x.png"] == ("002", "Happy")
    assert "(the second folder)" in manifest.remarks[0].split("subjects")[1]


def test_labels_that_are_no_words_are_known_by_being_few(tmp_path, write):
    for subject in range(6):
        for label in ("E1", "E2", "E3"):
            write(tmp_path / f"S{subject}" / label / "x.png")

    clips, _ = read(tmp_path)

    assert clips["S4/E2/x.png"] == ("S4", "E2")


def test_where_nothing_tells_labels_from_subjects_the_user_is_asked(tmp_path, write):
    for outer in "abc":
        for inner in "xyz":
            write(tmp_path / outer / inner / "1.png")

    with pytest.raises(DataError, match=r"do not tell which one is the subject; .*\(\?P<emotion>"):
        load("folder", tmp_path)
    clips, _ = read(tmp_path, subject_pattern="^(?P<subject>[^/]+)/(?P<emotion>[^/]+)/")
    assert clips["a/z/1.png"] == ("a", "z")


def test_a_pattern_that_finds_emotions_must_find_subjects(tmp_path, write):
    write(tmp_path / "a" / "b" / "1.png")

    with pytest.raises(FerError, match="has a group 'emotion' and no group 'subject'"):
        load("folder", tmp_path, subject_pattern="/(?P<emotion>[^/]+)/")


def test_what_a_zip_file_of_a_mac_adds_is_passed_through(tmp_path, write):
    for label in ("joy", "rage"):
        write(tmp_path / "photos" / label / "ann_1.jpg")
        write(tmp_path / "__MACOSX" / "photos" / label / "._ann_1.jpg")
        write(tmp_path / "__MACOSX" / "photos" / label / "ann_2.jpg")
    write(tmp_path / "photos" / "cover.jpg")
    write(tmp_path / "photos" / "docs" / "about.txt")

    clips, manifest = read(tmp_path)

    assert clips == {
        "photos/joy/ann_1.jpg": ("ann", "joy"),
        "photos/rage/ann_1.jpg": ("ann", "rage"),
    }
    assert dict(manifest.ignored) == {"photos/cover.jpg": "it lies in no folder of a label"}
    assert others(manifest) == ((".txt", 1),)


def test_a_stray_file_among_folders_of_folders_is_left_out_by_name(tmp_path, write):
    for subject in range(20):
        for label in ("joy", "rage"):
            write(tmp_path / f"S{subject}" / label / "x.png")
    write(tmp_path / "S1" / "stray_1.png")

    clips, manifest = read(tmp_path)

    assert len(clips) == 40
    reason = "it does not lie in <subject>/<label>/ as the others"
    assert manifest.left_out == (("S1/stray_1.png", reason),)


def test_files_at_two_depths_are_missing_where_they_are_too_many_for_a_mistake(tmp_path, write):
    for label in ("happy", "sad"):
        for number in range(20):
            write(tmp_path / label / f"P{number}" / "x.png")
        for number in range(12):
            write(tmp_path / label / f"Q{number}_x.png")

    _, manifest = read(tmp_path)

    assert len(manifest.clips) == 24
    assert len(manifest.left_out) == 40
    assert "--subject-pattern" in manifest.left_out[0][1]


def test_the_parts_of_a_split_are_not_taken_for_people(tmp_path, write):
    for part in ("train", "val", "test"):
        for label in ("happy", "sad"):
            write(tmp_path / part / label / "x.png")
            write(tmp_path / part / label / "y.png")

    with pytest.raises(DataError, match="into test, train, val, which are parts of a split"):
        load("folder", tmp_path)
    pattern = "^[^/]+/(?P<emotion>[^/]+)/(?P<subject>.+)"
    clips, _ = read(tmp_path, subject_pattern=pattern)
    assert clips["val/sad/y.png"] == ("y.png", "sad")
