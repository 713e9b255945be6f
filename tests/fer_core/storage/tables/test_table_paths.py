"""Paths in tables, as other systems write them."""

import unicodedata
from pathlib import Path

import pytest

from fer_core.storage.tables.table_paths import TablePaths


@pytest.fixture
def root(tmp_path, write):
    write(tmp_path / "photos" / "joy" / "a.jpg")
    write(tmp_path / "photos" / "b.JPG")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "cell",
    [
        "joy/a.jpg",
        "./joy/a.jpg",
        r"joy\a.jpg",
        r".\joy\a.jpg",
        "joy//a.jpg",
        "photos/joy/a.jpg",
        r"photos\joy\a.jpg",
        "joy/../joy/a.jpg",
        "joy/a.JPG",
    ],
)
def test_a_file_is_found_however_its_path_is_written(root, cell):
    assert TablePaths(root).find(cell) == root / "joy" / "a.jpg"


def test_an_absolute_path_below_the_folder_is_taken_also_through_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)

    assert TablePaths(root).find(str(root / "b.JPG")) == root / "b.JPG"
    assert TablePaths(tmp_path / "link").find(str(root / "b.JPG")) == tmp_path / "link" / "b.JPG"


@pytest.mark.parametrize("cell", ["../other/a.jpg", "/etc/passwd", ".", "joy/../..", ""])
def test_what_lies_outside_is_no_path(root, cell):
    assert TablePaths(root).find(cell) is None


@pytest.mark.parametrize(("of_file", "of_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_count_in_either_unicode_form(tmp_path, write, of_file, of_table):
    name = "Zoë/café.jpg"
    write(tmp_path / unicodedata.normalize(of_file, name))

    found = TablePaths(tmp_path).find(unicodedata.normalize(of_table, name))

    assert found == tmp_path / unicodedata.normalize(of_file, name)


def test_a_name_in_another_case_is_noted_and_two_such_files_are_not_guessed(root, write):
    paths = TablePaths(root)

    assert paths.find("b.jpg") == root / "b.JPG"
    assert paths.other_case == [("b.jpg", "b.JPG")]
    write(root / "b.Jpg")
    assert TablePaths(root).find("b.jpg") == root / "b.jpg"  # as it is written: it does not exist


def test_a_name_with_a_backslash_is_that_file_where_it_exists(root, write):
    write(root / "joy\\c.jpg")

    assert TablePaths(root).find("joy\\c.jpg") == root / "joy\\c.jpg"


def test_what_exists_nowhere_stays_as_it_is_written(root):
    assert TablePaths(root).find("joy/gone.jpg") == root / "joy" / "gone.jpg"
    assert TablePaths(root).find(r"rage\gone.jpg") == root / Path("rage/gone.jpg")


@pytest.mark.parametrize(
    ("before", "begin"),
    [
        ("C:\\data\\photos\\", ("C:/data/photos/", "")),
        ("/old/place/", ("old/place/", "")),
        ("file:///old/my%20place/", ("old/my place/", "")),
        ("../photos2/", ("photos2/", "")),
    ],
)
def test_paths_that_begin_on_another_machine_are_found_here(root, before, begin):
    paths = TablePaths(root)
    cells = [f"{before}joy/a.jpg", f"{before}b.jpg", f"{before}joy/gone.jpg"]

    paths.learn(cells)

    assert paths.begin == begin
    assert [paths.find(cell) for cell in cells[:2]] == [root / "joy" / "a.jpg", root / "b.JPG"]
    assert not (paths.find(cells[2]) or Path("none")).exists()


def test_paths_may_begin_in_a_folder_below_that_of_the_dataset(root, tmp_path):
    paths = TablePaths(tmp_path)

    paths.learn(["joy/a.jpg"])

    assert paths.begin == ("", "photos")
    assert paths.find("joy/a.jpg") == root / "joy" / "a.jpg"


def test_it_is_not_guessed_where_paths_begin_if_some_are_found_or_two_folders_have_them(
    root, write
):
    write(root / "fear" / "a.jpg")
    some, two = TablePaths(root), TablePaths(root)

    some.learn(["joy/a.jpg", "rage/a.jpg"])
    two.learn(["a.jpg"])

    assert some.begin is None
    assert two.begin is None


def test_folders_in_another_case_are_found(root):
    assert TablePaths(root).find("JOY/A.jpg") == root / "joy" / "a.jpg"
