"""What pandas and `read_leaderboard` see, whatever a study is called and however old a file is."""

import io
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import search
from fer_core.errors import FerError
from fer_core.storage.paths import plain_name
from search.results import board, leaderboard, origin, reading
from search.results.columns import schema
from search.study import folder as folders
from search.study.folder import Folder

NAMES = [
    "_mine",
    ".mine",
    "my study",
    "a=b",
    "50%",
    "%2F",
    "größe",
    "研究",
    "名" * 80,
    "x" * 250,
    " blank",
    "a#b?c",
    "[1]",
]


@pytest.fixture
def write(tmp_path, record, make_result):
    """Write the board of a study of some name."""

    def write(name, boards=None):
        folder = Folder(tmp_path / "studies" / name)
        own = replace(record, study=name, leaderboards=str(boards or tmp_path / "boards"))
        return board.write(folder, own, [make_result(0)])

    return write


@pytest.mark.parametrize("name", NAMES)
def test_pandas_and_read_leaderboard_read_the_board_of_a_study_of_any_name(write, tmp_path, name):
    file = write(name)

    seen = pd.read_parquet(tmp_path / "boards" / "synthetic")
    ranked = search.read_leaderboard("synthetic", tmp_path / "boards")

    assert set(seen["study"]) == set(ranked["study"]) == {name}
    assert list(seen.columns) == schema().names
    assert set(pd.read_parquet(file)["study"]) == {name}


@pytest.mark.parametrize("name", ["_mine", "my study", "50%", "größe"])
def test_pandas_reads_the_board_of_a_study_of_any_name_in_s3(write, bucket, name):
    write(name, boards=bucket)

    seen = pd.read_parquet(f"{bucket}/synthetic")

    assert set(seen["study"]) == {name}


@given(st.text(min_size=1, max_size=255).filter(lambda name: "/" not in name and "\0" not in name))
def test_the_file_of_any_study_has_a_name_that_a_file_system_and_pandas_take(name):
    file = leaderboard.file_name(name)

    assert file.endswith(".parquet")
    assert not file.startswith(("_", "."))
    assert len(file.encode("utf-8", "surrogatepass")) < 230


@pytest.mark.parametrize("name", ["smoke-synthetic-1a2b3c", "my study", "größe", "x" * 150])
def test_a_name_that_pandas_reads_stays_as_it_was(name):
    assert leaderboard.file_name(name) == f"{name}.parquet"


def test_long_names_that_begin_alike_have_files_of_their_own():
    assert leaderboard.file_name("x" * 220 + "1") != leaderboard.file_name("x" * 220 + "2")


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("_mine.py", "mine"),
        (".mine.py", "mine"),
        ("a=b c%d.py", "a_b_c_d"),
        ("größe.py", "groe"),
        ("研究.py", "space"),
        ("temporal.py", "temporal"),
        ("my-space_2.v1.py", "my-space_2.v1"),
    ],
)
def test_a_new_study_has_a_plain_name(tmp_path, space, name):
    (tmp_path / space).write_text("")

    folder = folders.create(tmp_path / "studies", space=tmp_path / space, dataset="jaffe")

    assert folder.name.rpartition("-")[0] == f"{name}-jaffe"


@given(st.text())
def test_a_plain_name_is_short_and_plain(name):
    plain = plain_name(name)

    assert plain.isascii()
    assert 0 < len(plain) <= 100
    assert plain[0] not in "._-"


def test_the_board_that_an_earlier_version_hid_is_renamed_by_its_study(
    tmp_path, record, make_result
):
    folder = Folder(tmp_path / "studies" / "_mine")
    folder.path.mkdir(parents=True)
    own = origin.sign(folder, replace(record, study="_mine"), print)
    folder.write_record(own)
    file = board.write(folder, own, [make_result(0)])
    hidden = file.rename(file.with_name("_mine.parquet"))

    origin.sign(folder, own, print)

    assert file.is_file()
    assert not hidden.exists()


def test_the_hidden_board_of_another_study_is_left_alone(tmp_path, record, make_result):
    folder = Folder(tmp_path / "studies" / "_mine")
    folder.path.mkdir(parents=True)
    file = board.write(folder, replace(record, study="_mine"), [make_result(0)])
    hidden = file.rename(file.with_name("_mine.parquet"))

    origin.sign(folder, replace(record, study="_mine"), print)

    assert hidden.is_file()


def earlier(file, *without, **added):
    """Make a file as a version with other columns wrote it."""
    table = pq.read_table(io.BytesIO(file.read_bytes())).drop_columns(list(without))
    for name, values in added.items():
        table = table.append_column(name, pa.array(values * table.num_rows))
    content = io.BytesIO()
    pq.write_table(table, content)
    file.write_bytes(content.getvalue())


@pytest.mark.parametrize("place", ["folder", "s3"])
@pytest.mark.parametrize("name", ["0-earlier", "z-earlier"])
def test_pandas_sees_all_columns_beside_a_board_of_an_earlier_version(
    write, tmp_path, request, place, name
):
    boards = request.getfixturevalue("bucket") if place == "s3" else tmp_path / "boards"
    earlier(write(name, boards), "split", "still_improving", gone=["x"])
    content = (boards / "synthetic" / f"{name}.parquet").read_bytes()

    write("m-today", boards)

    seen = pd.read_parquet(f"{boards}/synthetic")
    assert set(seen["study"]) == {name, "m-today"}
    assert set(seen.columns) == {*schema().names, "gone"}
    assert (boards / "synthetic" / f"{name}.parquet").read_bytes() == content
    assert set(search.read_leaderboard("synthetic", str(boards))["study"]) == {name, "m-today"}


def test_the_fixture_of_an_earlier_version_and_todays_board_are_read_in_any_order(
    tmp_path, record, make_result
):
    root = next(p for p in Path(__file__).parents if p.name == "tests")
    (old,) = (root / "fixtures" / "earlier" / "leaderboards" / "folder").glob("*.parquet")
    for name in ("a-today", "z-today"):
        boards = tmp_path / name
        (boards / "folder").mkdir(parents=True)
        (boards / "folder" / old.name).write_bytes(old.read_bytes())
        own = replace(record, study=name, dataset="folder", leaderboards=str(boards))
        board.write(Folder(tmp_path / "studies" / name), own, [make_result(0)])

        seen = pd.read_parquet(boards / "folder")

        assert set(schema().names) <= set(seen.columns)
        assert set(seen["study"]) == {name, old.stem}


def test_boards_of_today_need_no_file_of_columns(write, tmp_path):
    write("one")
    write("two")

    assert sorted(os.listdir(tmp_path / "boards" / "synthetic")) == ["one.parquet", "two.parquet"]


def test_the_columns_of_a_newer_version_stay(write, tmp_path):
    earlier(write("a-newer"), newest=[1.0])
    write("b-today")
    columns = tmp_path / "boards" / "synthetic" / reading.COLUMNS
    content = columns.read_bytes()

    write("b-today")

    assert columns.read_bytes() == content
    assert "newest" in pd.read_parquet(columns.parent)


def test_a_file_that_is_no_leaderboard_is_named_in_one_line(write, tmp_path):
    write("one")
    file = tmp_path / "boards" / "synthetic" / "mine.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(file)

    with pytest.raises(
        FerError, match=r"mine\.parquet is no leaderboard: it has no column 'study'"
    ):
        search.read_leaderboard("synthetic", tmp_path / "boards")

    pd.DataFrame({key: ["x"] for key in ("study", "trial", "source", "state")}).to_parquet(file)
    with pytest.raises(FerError, match=r"its column 'trial' holds .*string, and not int64"):
        search.read_leaderboard("synthetic", tmp_path / "boards")


def test_a_folder_that_holds_only_the_columns_has_no_leaderboard(write, tmp_path):
    earlier(write("one"), "split")
    write("two")
    for name in ("one", "two"):
        (tmp_path / "boards" / "synthetic" / f"{name}.parquet").unlink()

    with pytest.raises(FerError, match="holds none yet"):
        search.read_leaderboard("synthetic", tmp_path / "boards")
