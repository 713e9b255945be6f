"""Paths in tables, as other systems write them."""

import unicodedata
from pathlib import Path

import pytest

from fer_core.data.tables.table_paths import TablePaths


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


def test_a_suffix_in_another_case_is_noted_and_two_such_files_are_not_guessed(root, write):
    paths = TablePaths(root)

    assert paths.find("b.jpg") == root / "b.JPG"
    assert paths.other_suffix == [("b.jpg", "b.JPG")]
    write(root / "b.Jpg")
    assert TablePaths(root).find("b.jpg") == root / "b.jpg"  # as it is written: it does not exist


def test_a_name_with_a_backslash_is_that_file_where_it_exists(root, write):
    write(root / "joy\\c.jpg")

    assert TablePaths(root).find("joy\\c.jpg") == root / "joy\\c.jpg"


def test_what_exists_nowhere_stays_as_it_is_written(root):
    assert TablePaths(root).find("joy/gone.jpg") == root / "joy" / "gone.jpg"
    assert TablePaths(root).find(r"rage\gone.jpg") == root / Path("rage/gone.jpg")
