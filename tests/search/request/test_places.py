"""Where a study that goes on finds its files, after its project or its dataset was moved."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import FerError
from fer_core.storage import paths
from search.request import places, settings
from search.study.folder import Folder

RENDERED = settings.rendered_name(settings.SMOKE_SUBJECTS)
NAMES = st.text("ab ö%=", min_size=1, max_size=6).filter(str.strip)
PLACES = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.fixture
def project(tmp_path, record):
    """A project with all its places, and its study's folder."""
    return make(tmp_path / "project", record)


def make(root, record, **elsewhere):
    folder = Folder(root / "studies" / record.study)
    folder.path.mkdir(parents=True)
    own = {name: str(root / name) for name in ("store", "leaderboards")}
    own |= {"data_root": str(root / "data" / "faces")} | elsewhere
    for place in own.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    folder.write_record(replace(record, home=str(folder.path), **own))
    return folder


def found(folder, needed=places.PLACES, **named):
    return places.found(folder.record(), folder, named, RENDERED, needed)


def moved(folder, name="renamed"):
    root = folder.path.parents[1]
    return Folder(root.rename(root.with_name(name)) / "studies" / folder.name)


def test_a_study_that_was_not_moved_finds_its_places_without_a_word(project):
    record, lines = found(project)

    assert record == project.record()
    assert lines == []


def test_the_places_of_a_renamed_project_are_in_its_new_folder_and_that_is_said(project):
    root = project.path.parents[1]
    after = moved(project)

    record, lines = found(after)

    new = root.with_name("renamed")
    assert record.store == str(new / "store")
    assert record.leaderboards == str(new / "leaderboards")
    assert record.data_root == str(new / "data" / "faces")
    assert lines[0] == f"this study's folder was {project.path}; it goes on in {after.path}"
    assert f"its leaderboards: {new / 'leaderboards'}" in lines
    assert not root.exists()


def test_a_renamed_project_does_not_go_back_to_an_old_folder_that_was_made_anew(project):
    root = project.path.parents[1]
    after = moved(project)
    for place in ("store", "leaderboards", "data/faces"):
        (root / place).mkdir(parents=True)

    record, _ = found(after)

    assert record.leaderboards == str(root.with_name("renamed") / "leaderboards")


def test_a_study_folder_that_was_moved_alone_keeps_the_places_of_its_project(project, tmp_path):
    alone = Folder(tmp_path / "archive" / "studies" / project.name)
    shutil.move(project.path, alone.path)

    record, _ = found(alone)

    assert record.store == str(project.path.parents[1] / "store")


def absolute(folder):
    """Write study.json as an earlier version did: with absolute places."""
    record = folder.record()
    file = folder.path / "study.json"
    text = file.read_text().replace('"format": 5', '"format": 4')
    for name in ("store", "leaderboards", "data_root"):
        place = getattr(record, name)
        text = text.replace(paths.relative(Path(place), folder.path), place)
    file.write_text(text)
    assert f'"store": "{record.store}"' in text


@pytest.mark.parametrize("has_home", [True, False])
def test_the_absolute_places_of_an_earlier_version_are_found_in_a_renamed_project(
    project, has_home
):
    absolute(project)
    if not has_home:  # before format 4
        file = project.path / "study.json"
        file.write_text(file.read_text().replace(f'"home": "{project.path}"', '"home": null'))
    after = moved(project)

    record, lines = found(after)

    root = after.path.parents[1]
    assert record.store == str(root / "store")
    assert record.data_root == str(root / "data" / "faces")
    assert any(f"its store: {root / 'store'}; it was " in line for line in lines)


@pytest.fixture
def table_of_subjects(project):
    """Give the study a table of subjects: a function that puts it below the project."""

    def put(place):
        file = project.path.parents[1] / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("file,subject\n")
        project.write_record(replace(project.record(), subject_table=str(file)))
        return file

    return put


@pytest.mark.parametrize("place", ["people.csv", "data/people.csv", "data/faces/people.csv"])
def test_a_table_of_subjects_moves_with_the_project_wherever_it_lies(
    project, table_of_subjects, place
):
    table_of_subjects(place)
    after = moved(project)

    record, _ = found(after)

    assert record.subject_table == str(after.path.parents[1] / place)


def test_a_table_of_subjects_in_the_dataset_moves_with_the_dataset(
    project, table_of_subjects, tmp_path
):
    old = table_of_subjects("data/faces/people.csv")
    new = shutil.copytree(old.parent, tmp_path / "elsewhere")

    record, _ = found(project, data_root=str(new))

    assert record.subject_table == str(new / "people.csv")


def test_a_table_of_subjects_that_is_gone_is_asked_for(project, table_of_subjects, tmp_path):
    table_of_subjects("people.csv").unlink()
    here = tmp_path / "people.csv"
    here.touch()

    with pytest.raises(
        FerError,
        match=r"table of subjects .* now with search.run --resume .* --sub",
    ):
        found(project)
    assert found(project, subject_table=str(here))[0].subject_table == str(here)
    with pytest.raises(FerError, match=r"--subjects: file nowhere.csv does not exist"):
        found(project, subject_table="nowhere.csv")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("store", "the store of study .* say where it is now with --store, or name a new folder"),
        ("leaderboards", "the leaderboards of study .* with --leaderboards"),
        ("data", "the dataset of study .* with --data-root"),
    ],
)
def test_a_place_that_is_gone_is_asked_for_and_not_made_again(project, make_result, place, message):
    project.write_result(make_result(0))
    gone = project.path.parents[1] / place
    shutil.rmtree(gone)

    with pytest.raises(FerError, match=message):
        found(project)

    assert not gone.exists()


def test_a_study_without_results_has_no_leaderboards_yet(project):
    shutil.rmtree(project.path.parents[1] / "leaderboards")

    record, _ = found(project)

    assert record.leaderboards == project.record().leaderboards


def test_a_place_that_a_command_does_not_need_is_not_asked_for(project, make_result):
    project.write_result(make_result(0))
    shutil.rmtree(project.path.parents[1] / "leaderboards")

    assert found(project, needed=("store",))[0] == project.record()


def test_what_the_user_names_comes_first_and_is_recorded(project, tmp_path):
    shutil.move(project.path.parents[1] / "data" / "faces", tmp_path / "people")

    record, lines = found(project, data_root=str(tmp_path / "people"), store=str(tmp_path / "new"))
    project.write_record(record)

    assert project.record().data_root == str(tmp_path / "people")
    assert project.record().store == str(tmp_path / "new")
    assert any(line.startswith(f"its dataset: {tmp_path / 'people'}; it was ") for line in lines)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"data_root": "gone"}, "--data-root: gone is no folder"),
        ({"store": "file/x"}, "--store is 'file/x'; it must be a folder"),
        ({"surface": "gone.npz"}, "--surface: file gone.npz does not exist"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused_by_its_option(
    project, tmp_path, monkeypatch, named, message
):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()

    with pytest.raises(FerError, match=message):
        found(project, **named)


def test_the_synthetic_dataset_moves_with_the_store_in_which_it_was_rendered(project, tmp_path):
    root = project.path.parents[1]
    own = replace(project.record(), data_root=str(root / "store" / "datasets" / RENDERED))
    project.write_record(own)
    shutil.move(root / "store", tmp_path / "new")

    now = settings.resumed(
        project.record(), project, trials=None, places={"store": str(tmp_path / "new")}
    )

    assert now.data_root == tmp_path / "new" / "datasets" / RENDERED
    assert now.renders


def test_a_dataset_of_the_user_is_never_rendered_again(project):
    shutil.rmtree(project.path.parents[1] / "data")

    with pytest.raises(FerError, match="--data-root"):
        settings.resumed(project.record(), project, trials=None)


def test_weights_and_a_surface_of_the_project_move_along(project):
    root = project.path.parents[1]
    (root / "face.pth").touch()
    (root / "face.npz").touch()
    files = {"weights": {"vgg16": str(root / "face.pth")}, "surface": str(root / "face.npz")}
    project.write_record(replace(project.record(), **files))

    after = moved(project)
    record, _ = found(after)

    new = after.path.parents[1]
    assert record.weights == {"vgg16": str(new / "face.pth")}
    assert record.surface == str(new / "face.npz")

    (new / "face.pth").unlink()
    with pytest.raises(FerError, match=r"the weights of vgg16 .* put the file back there"):
        found(after)


@pytest.mark.parametrize("study", ["toy", "my study ö%"])
def test_places_in_s3_move_along_with_a_study_that_was_copied_there(bucket, record, study):
    old, new = bucket / "old", bucket / "new"
    folder, copy = (Folder(root / "studies" / study) for root in (old, new))
    own = {name: str(old / name) for name in ("store", "leaderboards")}
    folder.write_record(replace(record, home=str(folder.path), **own))
    for name in ("store", "leaderboards"):
        (new / name / "x").write_bytes(b"x")
    (copy.path / "study.json").write_bytes((folder.path / "study.json").read_bytes())

    now, lines = found(copy)

    assert now.store == str(new / "store")
    assert now.leaderboards == str(new / "leaderboards")
    assert len(lines) == 4


@given(PLACES)
def test_any_place_of_a_project_moves_with_it_and_any_other_stays(place):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        folder, after = (Folder(root / each / "studies" / "s") for each in ("a", "b"))
        folder.path.mkdir(parents=True)
        for inside in (root / "a" / place, root / "elsewhere" / place):
            text = folder._place_in_file(str(inside))
            assert folder._place_here(text) == str(inside)

        text = folder._place_in_file(str(root / "a" / place))
        (root / "a").rename(root / "b")

        assert after._place_here(text) == str(root / "b" / place)
        other = str(root / "elsewhere" / place)
        assert after._place_here(after._place_in_file(other)) == other


@given(PLACES, PLACES)
def test_a_place_as_seen_from_a_folder_is_that_place(place, folder):
    for make_ in (Path("/").joinpath, lambda text: paths.parse("s3://lab") / text):
        at, seen_from = make_(place), make_(folder)

        assert paths.joined(seen_from, paths.relative(at, seen_from)) == at


def test_no_place_is_named_as_seen_from_another_bucket_or_from_a_folder():
    lab, other = paths.parse("s3://lab/a"), paths.parse("s3://other/a")

    assert paths.relative(lab, other) is None
    assert paths.relative(lab, Path("/a")) is None
    assert paths.relative(Path("/a"), lab) is None
