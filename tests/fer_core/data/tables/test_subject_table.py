"""Subjects from a second table, for a folder and for a dataset that names none."""

import pytest

from fer_core.data import subjects
from fer_core.data.datasets import DATASETS, load
from fer_core.errors import DataError, FerError


@pytest.fixture
def root(tmp_path, write):
    """Four photographs, two labels, whose names tell no subject."""
    for name in ("joy/1.jpg", "joy/2.jpg", "rage/3.jpg", "rage/4.jpg"):
        write(tmp_path / "photos" / name)
    return tmp_path / "photos"


def who(root, table, **rules):
    manifest = load("folder", root, subject_table=table, **rules)
    return {clip.clip: clip.subject for clip in manifest.clips}, manifest


@pytest.mark.parametrize(
    "table",
    [
        "path,subject\njoy/1.jpg,ann\njoy/2.jpg,bob\nrage/3.jpg,ann\nrage/4.jpg,bob\n",
        "File;Subject\njoy\\1.jpg;ann\n2.jpg;bob\n3;ann\nphotos/rage/4.jpg;bob\n",
    ],
)
def test_a_table_names_the_subjects_by_path_or_by_file_name(root, tmp_path, write, table):
    write(tmp_path / "people.csv", table)

    named, _ = who(root, tmp_path / "people.csv")

    assert list(named) == ["joy/1.jpg", "joy/2.jpg", "rage/3.jpg", "rage/4.jpg"]
    assert list(named.values()) == ["ann", "bob", "ann", "bob"]


def test_the_label_table_then_needs_no_subject_and_its_own_does_not_count(root, write):
    rows = "joy/1.jpg,x,joy\nrage/3.jpg,x,rage\n"
    write(root / "labels.csv", f"path,subject,emotion\n{rows}")
    write(root / "people.csv", "Datei,Person\n1.jpg,ann\n3.jpg,bob\n9.jpg,eve\n")

    columns = {"path": "Datei", "subject": "Person"}
    named, manifest = who(root, "people.csv", columns=columns)

    assert named == {"joy/1.jpg": "ann", "rage/3.jpg": "bob"}
    assert "people.csv: 1 of 3 rows name no clip here, the first is '9.jpg' in line 4" in (
        manifest.remarks
    )


def test_clips_without_one_subject_are_left_out_each_with_its_reason(root, tmp_path, write):
    rows = "joy/1.jpg,ann\njoy/2.jpg,ann\njoy/2.jpg,bob\nrage/3.jpg,\n"
    write(tmp_path / "people.csv", f"path,subject\n{rows}")

    named, manifest = who(root, tmp_path / "people.csv")

    assert named == {"joy/1.jpg": "ann"}
    assert dict(manifest.left_out) == {
        "joy/2.jpg": "the table of subjects names 'ann' and, in line 4, 'bob'",
        "rage/3.jpg": "the table of subjects leaves its subject empty",
        "rage/4.jpg": "the table of subjects does not name it",
    }
    assert dict(manifest.places)["joy/2.jpg"] == "people.csv, line 3"


def test_a_name_that_several_clips_have_is_not_guessed(root, tmp_path, write):
    write(root / "rage" / "1.jpg", "other")
    write(tmp_path / "people.csv", "path,subject\n1.jpg,ann\n2.jpg,bob\n")

    named, manifest = who(root, tmp_path / "people.csv")

    assert named == {"joy/2.jpg": "bob"}
    reason = "the table of subjects names '1.jpg', which several clips are called"
    assert dict(manifest.left_out)["joy/1.jpg"] == reason


def test_a_table_that_names_no_clip_is_refused_with_an_example_of_both(root, tmp_path, write):
    write(tmp_path / "people.csv", "path,subject\nx.png,ann\n")

    with pytest.raises(DataError, match=r"none of the 4 clips .* 'x\.png', .* 'joy/1\.jpg'"):
        who(root, tmp_path / "people.csv")


def test_a_table_without_the_columns_says_which_option_names_them(root, tmp_path, write):
    write(tmp_path / "people.csv", "picture,participant_id\n1.jpg,ann\n")

    with pytest.raises(DataError, match="participant_id; give --column path=picture --column"):
        who(root, tmp_path / "people.csv")


def test_a_changed_table_changes_the_hash_of_the_data(root, tmp_path, write):
    rows = "path,subject\njoy/1.jpg,a\njoy/2.jpg,b\nrage/3.jpg,a\nrage/4.jpg,"
    write(tmp_path / "people.csv", f"{rows}b\n")
    before = who(root, tmp_path / "people.csv")[1].sha256
    (tmp_path / "people.csv").write_text(f"{rows}c\n")

    assert who(root, tmp_path / "people.csv")[1].sha256 != before


def test_a_dataset_of_unknown_people_takes_a_table_of_them(tmp_path, write):
    for part in ("train", "test"):
        for emotion in ("angry", "happy"):
            write(tmp_path / "fer" / part / emotion / f"{part}_{emotion}.jpg")
    rows = "train_angry,ann\ntrain_happy,ann\ntest_angry,bob\n"
    write(tmp_path / "people.csv", f"file,subject\n{rows}")

    manifest = load("fer2013", tmp_path / "fer", subject_table=tmp_path / "people.csv")

    assert [clip.subject for clip in manifest.clips] == ["bob", "ann", "ann"]
    reason = "the table of subjects does not name it"
    assert manifest.left_out == (("test/happy/test_happy.jpg", reason),)


def test_a_table_that_names_no_subject_at_all_leaves_no_clip(tmp_path, write):
    write(tmp_path / "fer" / "train" / "angry" / "a.jpg")
    write(tmp_path / "people.csv", "file,subject\na,\n")

    with pytest.raises(DataError, match="all 1 clips are left out"):
        load("fer2013", tmp_path / "fer", subject_table=tmp_path / "people.csv")


@pytest.mark.parametrize(
    ("dataset", "rules", "message"),
    [
        ("jaffe", {"subject_table": "p.csv"}, "--subjects is for a dataset that does not say"),
        ("jaffe", {"columns": {"subject": "x"}}, "--column is for the dataset 'folder'"),
        ("folder", {"columns": {"subjct": "x"}}, "no column 'subjct'; did you mean 'subject'"),
        ("folder", {"subject_table": "p", "subject_pattern": "(a)"}, "give one of them"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_by_option(tmp_path, dataset, rules, message):
    with pytest.raises(FerError, match=message):
        load(dataset, tmp_path, **rules)


def test_every_dataset_that_takes_a_table_of_subjects_is_by_clip_without_one():
    anonymous = {name for name, dataset in DATASETS.items() if dataset.anonymous}

    assert anonymous == {"affectnet", "dfew", "fer2013", "ferplus", "raf_db", "raf_db_aligned"}
    assert subjects.FOLDER not in anonymous
