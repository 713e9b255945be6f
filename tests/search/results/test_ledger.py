"""How often the same people were tested: made studies with real folders, tests and boards."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fer_core.data.protocol import Protocol
from fer_core.scoring import score
from fer_core.trial.results import SealedResult
from search.cluster.sealed_test import write_sealed_scores
from search.results import board, ledger, origin
from search.study.folder import Folder

SPLIT = Protocol(name="made", sealed=("a", "b"), folds=(("c", "d"), ("e", "f")))
OTHER_SPLIT = Protocol(name="made", sealed=("b", "c"), folds=(("a", "d"), ("e", "f")))
APART = Protocol(name="made", sealed=("e",), folds=(("c",), ("d", "f")), train=("a", "b"))


@pytest.fixture
def begin(record, tmp_path):
    """Begin a study of CK+, as `search.session` does."""

    def begin(name, split=SPLIT, **values):
        folder = Folder(tmp_path / "studies" / name)
        folder.path.mkdir(parents=True)
        own = replace(
            record,
            study=name,
            **{"dataset": "ck_plus"} | values,
            protocol=split.to_json(),
            split_sha256=split.split_sha256,
            started_at=f"2026-01-15T10:00:00.{len(list(folder.path.parent.iterdir())):03}+00:00",
        )
        own = origin.sign(folder, own, print)
        folder.write_record(own)
        return folder

    return begin


@pytest.fixture
def end(make_result):
    """End a study: its best trial is tested, if asked for, and its board is written."""

    def end(folder, *, tests=True):
        before = ledger.read(folder.record())
        if tests:
            labels, right = np.array([0, 1]), np.eye(2, dtype=np.float32)
            result = SealedResult(
                metrics=score(labels, right),
                clips=("1", "2"),
                subjects=np.array(["a", "b"]),
                labels=labels,
                probabilities=right,
            )
            write_sealed_scores(folder, 0, result, opened_before=before.opened_before)
        return board.write(folder, folder.record(), [make_result(0)])

    return end


def text(folder):
    return "\n".join(ledger.read(folder.record()).lines())


def test_ten_studies_on_one_split_count_those_that_tested_the_same_people_before(begin, end):
    files = [end(begin(f"study-{i}")) for i in range(10)]

    boards = pd.concat(map(pd.read_parquet, files))
    assert boards["opened_before"].tolist() == list(range(10))
    assert "2 of these 2 subjects were in the sealed tests of 10 other studies" in text(
        begin("the-next")
    )


def test_a_study_that_goes_on_keeps_its_count_and_does_not_count_itself(begin, end, make_result):
    first = begin("first")
    end(first)
    end(begin("second"))

    file = board.write(first, first.record(), [make_result(0), make_result(1)])

    assert pd.read_parquet(file)["opened_before"].dropna().tolist() == [0]
    assert [other.study for other in ledger.read(first.record()).others] == ["second"]


def test_a_study_that_was_renamed_does_not_count_its_former_board(begin, end):
    former = begin("former")
    end(former)
    renamed = former.path.rename(former.path.with_name("renamed"))

    assert ledger.read(replace(Folder(renamed).record(), study="renamed")).others == ()


def test_a_study_that_tested_nobody_is_not_counted_but_its_split_is_told(begin, end):
    end(begin("untested"), tests=False)

    lines = text(begin("own"))

    assert "opened before: never" in lines
    assert "same split: 1 other study (untested), 0 of which tested these subjects" in lines


def test_people_who_chose_in_another_split_are_told_apart_from_those_who_were_tested(begin, end):
    end(begin("other", OTHER_SPLIT))

    own = begin("own")

    assert ledger.read(own.record()).opened_before == 1
    before, chosen = text(own).splitlines()
    assert before.startswith("opened before: 1 of these 2 subjects were in the sealed tests of")
    assert chosen.startswith(
        "were chosen on before: 1 of these 2 subjects were validation subjects of 1 other study"
    )


def test_a_split_with_other_people_is_not_mentioned(begin, end):
    end(begin("apart", APART))

    assert "apart" not in text(begin("own"))


def test_of_many_studies_three_are_named(begin, end):
    for name in "vwxyz":
        end(begin(name))

    assert "5 other studies (v, w, x and 2 more), 5 rows in all" in text(begin("own"))


def test_a_baseline_that_was_tested_is_no_opening(begin, end, make_result):
    folder = begin("baseline-only")
    file = end(folder)
    table = pq.read_table(file).to_pandas().assign(source="baseline")
    schema = pq.read_schema(file)
    pq.write_table(type(pq.read_table(file)).from_pandas(table, schema=schema), file)

    assert ledger.read(begin("own").record()).opened_before == 0


@pytest.mark.parametrize("dataset", ["folder", "synthetic"])
def test_equal_names_in_other_data_of_the_users_own_are_not_taken_for_the_same_people(
    begin, end, dataset
):
    end(begin("other", dataset=dataset, data_sha256="other"))

    own = begin("own", dataset=dataset)

    assert ledger.read(own.record()).opened_before == 0
    assert "not known: 1 other study (other): subjects of the same names in other" in text(own)


def test_other_clips_of_a_dataset_with_names_of_its_own_show_the_same_people(begin, end):
    end(begin("other", data_sha256="other"))

    assert ledger.read(begin("own").record()).opened_before == 1


def earlier(file):
    """Make a board as an earlier version wrote it: without a note of the subjects."""
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)


def test_a_board_of_an_earlier_version_counts_where_it_has_the_same_split(begin, end):
    earlier(end(begin("same")))
    earlier(end(begin("other", OTHER_SPLIT)))

    own = begin("own")

    assert ledger.read(own.record()).opened_before == 1
    assert "not known: 1 other study (other): an earlier version did not note who" in text(own)


def test_a_damaged_board_is_named_and_stops_nothing(begin, end):
    damaged = end(begin("damaged"))
    end(begin("whole"))
    damaged.write_bytes(damaged.read_bytes()[:100])

    own = begin("own")

    assert ledger.read(own.record()).opened_before == 1
    assert f"{damaged} is damaged" in text(own)


def test_boards_in_s3_are_the_ledger_too(begin, end, bucket):
    place = str(bucket / "boards")
    end(begin("other", leaderboards=place))

    own = begin("own", leaderboards=place)

    assert ledger.read(own.record()).opened_before == 1


def test_no_board_names_a_subject(begin, end):
    split = Protocol(name="made", sealed=("Ada Lovelace",), folds=(("Grace Hopper",),))

    content = end(begin("own", split)).read_bytes()

    assert b"Lovelace" not in content
    assert b"Hopper" not in content


def test_people_whose_sealed_test_has_begun_are_counted_before_any_row_shows_it(begin):
    other = begin("other")
    other.write_headlines({"hidden": 0})
    board.Board(other, other.record()).write_now()

    assert ledger.read(begin("own").record()).opened_before == 1


def test_a_nested_study_counts_from_the_first_fold_that_it_opens(begin):
    folds = Protocol(name="made", sealed=(), folds=(("a",), ("c",), ("d",)))
    nested = begin("nested", folds, nested=True)
    first, own = nested.outer(1), begin("own").record()

    board.Board(nested, nested.record()).write_now()
    before = ledger.read(own).opened_before
    first.path.mkdir(parents=True)
    first.write_headlines({"hidden": 3})
    board.Board(nested, nested.record()).write_now()

    assert before == 0
    assert ledger.read(own).others[0].tested == origin.hashed("ck_plus", ["a"])


def test_a_board_that_does_not_say_what_its_rows_are_is_named_and_passed_over(begin, end):
    file = end(begin("other"))
    pq.write_table(pq.read_table(file).drop_columns(["source"]), file)

    found = ledger.read(begin("own").record())

    assert found.opened_before == 0
    assert "does not say which rows had a sealed test: it is not counted" in found.unreadable[0]
