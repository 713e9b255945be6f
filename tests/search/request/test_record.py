import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fer_core.data.manifest import Clip, build
from fer_core.data.protocol import from_json
from fer_core.data.study_data import StudyData
from fer_core.errors import FerError
from search.request import settings as settings_
from search.request.record import begin
from search.study.folder import Folder


@pytest.fixture
def study_data(record, tmp_path):
    clip = Clip(
        clip="a/1.png",
        subject="a",
        emotion="joy",
        authenticity=None,
        path=Path("a/1.png"),
        sha256="1",
    )
    return StudyData(
        manifest=build("folder", tmp_path, [clip]),
        protocol=from_json(record.protocol),
        task="emotion",
        seed=0,
        store=tmp_path / "store",
        weights={},
        landmarks="dlib",
    )


def resumed(folder, study_data):
    settings = settings_.resumed(folder.record(), folder, trials=None)
    return begin(settings, study_data, folder, trials=3)[1]


@pytest.fixture
def original(folder, record, study_data):
    folder.write_record(record)
    folder.write_record(resumed(folder, study_data))
    return folder


def test_a_copy_that_was_renamed_gets_a_leaderboard_of_its_own(original, study_data):
    copy = Folder(original.path.with_name("toy-copy"))
    shutil.copytree(original.path, copy.path)

    assert resumed(copy, study_data).study == "toy-copy"
    assert resumed(original, study_data).study == original.name


def test_a_copy_under_the_same_name_is_refused_while_the_original_is_there(
    original, study_data, tmp_path
):
    copy = Folder(tmp_path / "other" / original.name)
    shutil.copytree(original.path, copy.path)

    with pytest.raises(FerError, match=r"is a copy of study .* rename the copy"):
        resumed(copy, study_data)


def test_another_spelling_of_the_folder_is_no_copy(original, study_data, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(original.path.parent)
    spelled = original.path.parent / ".." / original.path.parent.name / original.name

    for path in (link / original.name, spelled):
        assert resumed(Folder(path), study_data).study == original.name


def test_a_folder_that_was_moved_goes_on_as_the_same_study(original, study_data, tmp_path):
    moved = Folder(tmp_path / "other" / original.name)
    shutil.move(original.path, moved.path)

    assert resumed(moved, study_data).study == original.name


def test_a_study_notes_whether_its_split_keeps_people_apart_even_if_an_older_version_began_it(
    original, study_data
):
    assert original.record().split == "by-clip"  # the one clip is alone in its subject

    original.write_record(replace(original.record(), split=None))

    assert resumed(original, study_data).split == "by-clip"
