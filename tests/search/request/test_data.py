"""The data of a study, loaded from a folder of portraits; no face is looked for."""

import io
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
from rich.console import Console

from fer_core.errors import DataError, FerError
from search.request import data, settings
from search.request import record as record_of_study
from search.screen.progress import Progress
from search.study.options import Options
from tests.search.request.test_sides import manifest


@pytest.fixture
def root(tmp_path):
    """Twelve people, two labels; the person stands behind the label in the name."""
    rng = np.random.default_rng(0)
    for label in ("joy", "rage"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for person in range(12):
            name = f"{label}_{'S' if person % 2 else 's'}{person}.png"
            image = rng.integers(0, 255, (8, 8, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / label / name), image)
    return tmp_path / "faces"


def prepared(root, tmp_path, past=None, **options):
    """Load the data of a study; give them and the lines that were printed."""
    chosen = Options(
        space="spaces/smoke.py",
        dataset="folder",
        data_root=str(root),
        landmarks="dlib",
        store=str(tmp_path / "store"),
        **options,
    )
    made = settings.resolve(chosen, studies=str(tmp_path / "studies"))
    console = Console(file=io.StringIO(), width=200)
    study_data = data.prepare(made, Progress(console=console), past)
    return study_data, console.file.getvalue()


def test_a_study_splits_the_subjects_that_its_pattern_finds(root, tmp_path):
    study_data, printed = prepared(root, tmp_path, subject_pattern=r"_(?i:s)(\d+)")

    assert sorted(study_data.manifest.subjects, key=int) == [str(i) for i in range(12)]
    assert "by-clip" not in printed


def test_a_study_begins_by_saying_that_its_split_is_by_clip(root, tmp_path):
    _, printed = prepared(root, tmp_path, subject_pattern=r"([^/]+/[^.]+)")

    assert "by-clip, not subject-independent: 100% of the clips are the only one" in printed


def test_a_resumed_study_reads_its_data_by_its_pattern(root, tmp_path, record):
    pattern = r"_(?i:s)(\d+)"
    first, _ = prepared(root, tmp_path, subject_pattern=pattern)
    began = asdict(record) | {
        "data_sha256": first.manifest.sha256,
        "protocol": first.protocol.to_json(),
    }
    past = type(record)(**began)

    again, _ = prepared(root, tmp_path, past, subject_pattern=pattern)

    assert again.manifest == first.manifest
    with pytest.raises(DataError, match="have changed since study"):
        prepared(root, tmp_path, past, subject_pattern=r"([^/]+/[^.]+)")


def test_the_difference_to_the_clips_of_the_start_is_told_in_numbers(root, folder, tmp_path):
    study_data, _ = prepared(root, tmp_path, subject_pattern=r"_(?i:s)(\d+)")
    record_of_study._keep(folder, study_data, None)
    first, second, third, *others = study_data.manifest.clips
    now = [
        replace(second, sha256="other"),
        replace(third, emotion="surprise"),
        replace(first, clip="new.png"),
        *others,
    ]

    message = record_of_study.difference(folder, replace(study_data.manifest, clips=tuple(now)))

    assert message == (
        f"of its {len(study_data.manifest.clips)} clips, 1 missing ('{first.clip}'), "
        f"1 new ('new.png'), 1 of other content ('{second.clip}'), "
        f"1 labelled otherwise ('{third.clip}')"
    )


def test_a_study_of_an_earlier_version_did_not_note_its_clips(root, folder, tmp_path):
    study_data, _ = prepared(root, tmp_path, subject_pattern=r"_(?i:s)(\d+)")

    assert "did not note its clips" in record_of_study.difference(folder, study_data.manifest)


def test_a_resumed_study_sees_that_its_table_of_subjects_has_changed(root, tmp_path, record):
    clips = sorted(path.stem for path in root.rglob("*.png"))
    table = root / "people.csv"
    table.write_text("file,subject\n" + "".join(f"{clip},{clip[-2:]}\n" for clip in clips))
    first, printed = prepared(root, tmp_path, subject_table=str(table))
    began = asdict(record) | {
        "data_sha256": first.manifest.sha256,
        "protocol": first.protocol.to_json(),
    }
    past = type(record)(**began)
    root.rename(root.with_name("moved"))  # the table lies below the folder, and moves with it

    moved = root.with_name("moved")
    again, _ = prepared(moved, tmp_path, past, subject_table=str(moved / "people.csv"))
    (moved / "people.csv").write_text((moved / "people.csv").read_text().replace(",11", ",eve"))

    assert "subjects: 12, 10, 11, S1 and 9 more (the table of subjects)" in printed
    assert again.manifest.sha256 == first.manifest.sha256
    with pytest.raises(DataError, match="have changed since study"):
        prepared(moved, tmp_path, past, subject_table=str(moved / "people.csv"))


LOSO = {"space": "toy.py", "dataset": "jaffe", "protocol_name": "loso", "task": "emotion"}


def test_repeats_are_refused_where_a_protocol_seals_nobody():
    clips = manifest(10)

    assert data.checked_split(clips, Options(**LOSO)).sealed == ()
    with pytest.raises(FerError, match=r"--repeats 3 .* protocol 'loso' of jaffe seals no subject"):
        data.checked_split(clips, Options(**LOSO, repeats=3))


def test_leaving_clips_out_of_a_published_protocol_that_scores_all_is_refused():
    clips = manifest(10)

    with pytest.raises(FerError, match=r"--missing is leave-out; protocol 'loso' of jaffe scores"):
        data.checked_split(clips, Options(**LOSO, missing="leave-out"))


@pytest.mark.parametrize(
    ("options", "given", "missing"),
    [
        ({}, False, "leave-out"),
        ({}, True, "fallback"),
        (LOSO, False, "wrong"),
        (LOSO, True, "fallback"),
        ({"missing": "wrong"}, True, "wrong"),
        ({"missing": "fallback"}, False, "fallback"),
        ({"missing": "leave-out"}, True, "leave-out"),
    ],
)
def test_what_becomes_of_a_clip_without_a_face(options, given, missing):
    assert data.missing_of(Options(**{"space": "toy.py"} | options), given=given) == missing


@pytest.mark.parametrize(("dataset", "given"), [("fer2013", True), ("jaffe", False)])
def test_whether_faces_are_given_follows_from_the_dataset_unless_the_user_says_so(dataset, given):
    clips = replace(manifest(10), dataset=dataset)

    assert data.given_faces(clips, "auto") == given
    assert data.given_faces(clips, "given")
    assert not data.given_faces(clips, "found")


def test_the_engine_looks_more_closely_at_given_faces(root, tmp_path):
    study_data, _ = prepared(root, tmp_path, faces="given", subject_pattern=r"_(?i:s)(\d+)")

    assert (study_data.given_faces, study_data.missing) == (True, "fallback")
    assert study_data.landmarks == "dlib-closer"
