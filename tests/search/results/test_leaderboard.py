import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import search
from fer_core.config import (
    Config,
    FusionConfig,
    GeometryConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from fer_core.trial.baselines import NUMBERS
from search.results import ranking
from search.results.board import Board, write
from search.results.columns import FORMAT, FORMAT_KEY
from search.study import parts

ROOT = Path(__file__).parents[3]
COLUMNS = """
    dataset task protocol_id study space trial config_id source family family_trials state error
    val_uar val_uar_partial val_uar_corrected val_uar_std val_uar_low val_uar_high
    val_war val_war_low val_war_high
    val_macro_f1 val_macro_f1_low val_macro_f1_high val_subjects val_clips
    val_rank_low val_rank_high val_tied_with_best folds
    headline test_uar test_uar_low test_uar_high test_war test_war_low test_war_high
    test_macro_f1 test_macro_f1_low test_macro_f1_high test_subjects test_clips
    opened_before test_repeats test_uar_mean test_uar_std
    test_difference test_difference_low test_difference_high rank_low rank_high tied_with_best
    train_seconds stage_seconds params peak_memory_gib device
    config.views config.backbone config.freeze_depth config.pooling config.fc_layers
    config.fusion_point config.recurrent_cell config.pca_dim config.frames config.optimizer
    config.lr config_json seed commit versions data_sha256 split_sha256 frames_read
    started_at finished_at published_accuracy published comparable note host epochs_restored
    scoring_version trained_on split still_improving folds_extended fallback_share
    """
CONFIG = Config(
    streams=(StreamConfig(backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3),)
)
SEALED = {
    "test_uar": 0.5,
    "test_uar_low": 0.4,
    "test_uar_high": 0.6,
    "test_war": 0.5,
    "test_war_low": 0.4,
    "test_war_high": 0.6,
    "test_macro_f1": 0.5,
    "test_macro_f1_low": 0.4,
    "test_macro_f1_high": 0.6,
    "test_subjects": 2,
    "test_clips": 24,
}


def test_the_file_has_the_columns_of_the_issue_in_their_order(folder, record, make_result):
    file = write(folder, record, [make_result(0)])

    assert list(pd.read_parquet(file).columns) == COLUMNS.split()


def test_each_row_says_how_many_trials_its_family_was_given(folder, record, make_result):
    cell = replace(CONFIG, recurrent=RecurrentConfig(cell="gru", hidden=8))
    ended = [
        make_result(0),
        make_result(1, config=cell),
        make_result(2, state="failed"),
        make_result(3, state="pruned"),
        make_result(4, state="failed", config=None),
    ]

    board = pd.read_parquet(write(folder, record, ended))

    assert board["family_trials"].iloc[:4].tolist() == [3, 1, 3, 3]
    assert board["family_trials"].iloc[4:].isna().all()


def test_each_row_has_the_seed_of_its_own_training(folder, record, make_result):
    ended = [make_result(0), make_result(1, seed_offset=2)]

    board = pd.read_parquet(write(folder, replace(record, seed=5), ended))

    assert board["seed"].tolist()[:2] == [5, 7]


def test_several_studies_are_read_as_one_board(folder, record, make_result, tmp_path):
    for study in ("one", "two"):
        result = make_result(0) if study == "one" else make_result(0, state="failed", config=None)
        write(folder, record_of(record, study), [result])

    board = pd.read_parquet(tmp_path / "boards" / "synthetic")

    assert sorted(board["study"]) == ["one", "two"]
    assert str(board["started_at"].dt.tz) == "UTC"


def record_of(record, study):
    return type(record)(**vars(record) | {"study": study})


def test_a_trial_with_a_sealed_test_has_its_columns_and_the_others_have_none(
    folder, record, make_result
):
    write_atomically(folder.sealed_test(1), json.dumps(SEALED).encode())

    file = write(folder, record, [make_result(0), make_result(1)])

    closed, tested = pd.read_parquet(file)[list(SEALED)].to_dict("records")
    assert tested == SEALED
    assert pd.isna(list(closed.values())).all()


def test_a_failed_trial_has_its_reason_and_no_score(folder, record, make_result):
    result = make_result(0, state="failed", error="clip a is truncated.")

    (row,) = pd.read_parquet(write(folder, record, [result])).to_dict("records")

    assert (row["state"], row["error"], row["folds"]) == ("failed", "clip a is truncated.", 2)
    assert pd.isna([row["val_uar"], row["val_war"], row["val_macro_f1"]]).all()


def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(folder, record, make_result):
    for count in (1, 2, 3):
        file = write(folder, record, [make_result(n) for n in range(count)])

    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert len(pd.read_parquet(file)) == 3


def test_complete_trials_come_first_by_score_then_pruned_then_failed(folder, record, make_result):
    results = [
        make_result(0, state="failed", uars=()),
        make_result(1, state="pruned", uars=(0.9,)),
        make_result(2, uars=(0.4, 0.4)),
        make_result(3, uars=(0.8, 0.8)),
        make_result(4, uars=(0.8, 0.8)),
    ]
    write(folder, record, results)

    ranked = search.read_leaderboard("synthetic", record.leaderboards)

    assert list(ranked["trial"]) == [3, 4, 2, 1, 0]


def test_sorted_by_val_uar_no_pruned_trial_stands_above_a_complete_one(folder, record, make_result):
    results = [make_result(0, state="pruned", uars=(0.9,)), make_result(1, uars=(0.4, 0.4))]
    board = pd.read_parquet(write(folder, record, results)).set_index("trial")

    assert list(board.sort_values("val_uar", ascending=False).index) == [1, 0]
    assert board.loc[0, "val_uar_partial"] == 0.9
    assert pd.isna([board.loc[0, "val_uar"], board.loc[0, "val_war"]]).all()
    assert pd.isna(board.loc[1, "val_uar_partial"])


def test_a_file_in_which_pruned_trials_had_a_val_uar_is_read_as_today(folder, record, make_result):
    file = write(folder, record, [make_result(0, uars=(0.9, 0.9)), make_result(1)])
    table = pq.read_table(file).drop_columns(["val_uar_partial", "scoring_version"])
    place = table.column_names.index("state")
    states = pa.array(["pruned", "complete"])
    pq.write_table(table.set_column(place, "state", states), file)

    board = search.read_leaderboard("synthetic", record.leaderboards).set_index("trial")

    assert pd.isna([board.loc[0, "val_uar"], board.loc[0, "val_war"]]).all()
    assert board.loc[0, "val_uar_partial"] == pytest.approx(0.9)
    assert board.loc[1, "val_uar"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "other",
    [
        {"data_sha256": "other"},
        {"landmarks": "dlib"},
        {"clip": {"frames": 9, "sampling": "last", "stride": 1}},
        {"protocol_id": "other"},
    ],
)
def test_scores_on_other_data_points_frames_or_splits_are_ranked_apart(
    folder, record, make_result, other
):
    for study, changed, uar in (("a", {}, 0.3), ("b", other, 0.6), ("c", {}, 0.9)):
        write(folder, replace(record, study=study, **changed), [make_result(0, uars=(uar, uar))])

    ranked = search.read_leaderboard("synthetic", record.leaderboards)

    assert list(ranked["study"]) in (["c", "a", "b"], ["b", "c", "a"])


def test_scores_of_two_scoring_versions_are_ranked_apart_the_newer_first(
    folder, record, make_result
):
    for study, version, uar in (("a", 2, 0.3), ("b", 1, 0.6), ("c", 2, 0.9)):
        result = make_result(0, uars=(uar, uar), scoring_version=version)
        pruned = make_result(1, state="pruned", scoring_version=1)
        write(folder, replace(record, study=study), [result, pruned])

    ranked = search.read_leaderboard("synthetic", record.leaderboards)

    assert list(ranked["study"]) == ["c", "a", "a", "c", "b", "b"]
    assert list(ranked["state"])[:2] == ["complete"] * 2


@pytest.mark.parametrize("split", ["by-clip", "subject-independent", None])
def test_a_row_says_whether_its_split_keeps_people_apart_and_the_board_explains_by_clip(
    folder, record, make_result, split
):
    board = written(folder, replace(record, split=split), [make_result(0)])

    assert list(board["split"].astype(object).where(board["split"].notna(), None)) == [split]
    assert ("by-clip: the split of these rows" in ranking.explained(board)) == (split == "by-clip")


def test_the_printed_table_says_what_became_of_each_trial(folder, record, make_result):
    results = [make_result(0), make_result(1, state="failed", config=None)]
    file = write(folder, record, results)

    shown = ranking.table(ranking.rank(pd.read_parquet(file)))

    by_heading = {str(column.header): list(column.cells) for column in shown.columns}
    assert by_heading["val_uar±std"] == ["0.600±0.141", ""]
    assert by_heading["test_uar [95 %]"] == ["", "failed"]


PRESET = replace(CONFIG, task="emotion", stands_for="t9-geometry")


def written(folder, record, results):
    return ranking.rank(pd.read_parquet(write(folder, record, results)))


def test_a_row_that_repeats_a_printed_one_has_its_figure_and_why_they_do_not_compare(
    folder, record, make_result
):
    board = written(folder, record, [make_result(0, config=PRESET), make_result(1)])

    ours, other = (board[board["trial"] == n].iloc[0] for n in (0, 1))
    assert (ours["task"], other["task"]) == ("emotion", "hidden")
    assert ours["published_accuracy"] == 0.4411
    assert ours["published"] == "Garcia Zapata 2018, table 9"
    assert ours["comparable"] is False
    assert "one split" in ours["note"]
    assert pd.isna([other["published"], other["note"], other["comparable"]]).all()


def test_printed_figures_have_rows_of_their_own_and_no_score_that_would_rank(
    folder, record, make_result
):
    board = written(folder, record, [make_result(0, config=PRESET)])

    (printed,) = board[board["source"] == "published"].to_dict("records")
    assert (printed["dataset"], printed["protocol_id"]) == ("oulu_casia", "published")
    assert (printed["published_accuracy"], printed["family"]) == (0.4411, PRESET.family)
    assert pd.isna([printed[name] for name in ("val_uar", "val_war", "test_uar")]).all()
    assert printed["trial"] < -9
    assert list(board["source"]) == ["search", "published"]


def test_the_last_table_of_the_study_stands_beside_every_study_of_its_dataset_and_task(
    folder, record, make_result
):
    record = replace(record, dataset="sase_fe")

    board = written(folder, record, [make_result(0)])

    figures = board[board["source"] == "published"]["published_accuracy"]
    assert sorted(figures) == [0.4298, 0.6275]


def test_a_baseline_has_a_row_of_its_task_and_is_no_trial(folder, record, make_result):
    number = next(n for n, pair in NUMBERS.items() if pair == ("emotion", "landmarks+svm"))
    folder.write_result(make_result(number, config=None))

    board = written(folder, record, [make_result(0)])

    (baseline,) = board[board["source"] == "baseline"].to_dict("records")
    assert (baseline["task"], baseline["family"]) == ("emotion", "landmarks+svm")
    assert baseline["val_uar"] == 0.6
    assert pd.isna(baseline["config_json"])
    assert list(ranking.searched(board)["trial"]) == [0]


def cells(shown):
    return {str(column.header): list(column.cells) for column in shown.columns}


def test_the_printed_table_puts_a_published_figure_beside_our_row(folder, record, make_result):
    folder.write_result(make_result(-1, config=None))
    record = replace(record, dataset="oulu_casia")

    shown = cells(ranking.table(written(folder, record, [make_result(0, config=PRESET)])))

    assert shown["stands for"][:2] == ["majority", "t9-geometry"]
    assert shown["trial"] == ["baseline", "0", "published", "published"]
    assert shown["paper"] == ["", "0.441", "0.567", "0.589"]


def test_eighty_columns_hold_the_printed_tables(folder, record, make_result):
    for number in (n for n, (task, _) in NUMBERS.items() if task != "authenticity"):
        folder.write_result(make_result(number, config=None))
    write_atomically(folder.sealed_test(0), json.dumps(SEALED).encode())
    preset = replace(PRESET, stands_for="t4-all-frozen-3fc-max")
    both = (*CONFIG.streams, GeometryConfig())
    gru = RecurrentConfig(cell="gru", hidden=8)
    large = Config(streams=both, fusion=FusionConfig(), recurrent=gru)

    for dataset in ("synthetic", "sase_fe", "oulu_casia"):
        for config in (CONFIG, preset, large):
            study = replace(record, dataset=dataset)
            board = written(folder, study, [make_result(0, config=config)])
            console = Console(file=io.StringIO(), width=80)
            console.print(ranking.table(board))

            table = console.file.getvalue()
            assert "…" not in table
            for part in ("baseline", "features", "0.600±0.141", "0.500 [0.400, 0.600]"):
                assert part in table


def test_below_the_table_its_headings_and_marks_are_explained_and_no_others(
    folder, record, make_result
):
    board = written(folder, record, [make_result(0)])
    folder.write_result(make_result(-1, config=None))
    more = [make_result(0, config=PRESET), make_result(1, state="pruned")]

    plain, with_marks = (ranking.explained(b) for b in (board, written(folder, record, more)))

    assert [line.partition(":")[0] for line in plain.splitlines() if line[0] != " "] == [
        "val_uar±std",
        "test_uar [95 %]",
        "frozen",
        "pool",
    ]
    assert "optimistic" in plain
    for mark in ("stands for", "paper", "baseline", "pruned"):
        assert f"{mark}: " in with_marks
        assert f"{mark}: " not in plain
    assert all(len(line) <= 80 for line in f"{plain}\n{with_marks}".splitlines())


def test_several_streams_are_shown_with_their_views(folder, record, make_result):
    (stream,) = CONFIG.streams
    streams = (stream, replace(stream, view="frontal"), GeometryConfig())
    config = Config(streams=streams, fusion=FusionConfig())

    shown = cells(ranking.table(written(folder, record, [make_result(0, config=config)])))

    assert shown["backbone"] == ["dlib_resnet+geometry aligned+frontal"]
    assert shown["frozen"] == ["3/3"]


def test_an_unknown_dataset_has_no_leaderboard_and_the_nearest_is_suggested(
    folder, record, make_result
):
    write(folder, record, [make_result(0)])

    with pytest.raises(FerError, match="did you mean 'synthetic'"):
        search.read_leaderboard("synthetik", record.leaderboards)


def test_before_the_first_study_there_is_no_leaderboard(tmp_path):
    with pytest.raises(FerError, match="holds none yet"):
        search.read_leaderboard("synthetic", tmp_path)


def test_a_file_of_an_older_version_is_read_beside_a_new_one(folder, record, make_result, tmp_path):
    old, new = (
        write(folder, replace(record, study=study), [make_result(0)]) for study in ("zold", "new")
    )
    table = pq.read_table(old).drop_columns(["epochs_restored", "val_war"])
    pq.write_table(table.replace_schema_metadata(None), old)

    board = search.read_leaderboard("synthetic", record.leaderboards).set_index("study")
    plain = pd.read_parquet(tmp_path / "boards" / "synthetic").set_index("study")

    assert sorted([*board.columns, "study"]) == sorted(COLUMNS.split())
    for read in (board, plain):
        assert pd.isna(read.loc["zold", "val_war"])
        assert (read.loc["new", "val_war"], read.loc["zold", "val_uar"]) == (0.6, 0.6)
    assert pq.read_schema(new).metadata[FORMAT_KEY] == str(FORMAT).encode()


def test_a_file_of_a_newer_version_is_refused_by_name(folder, record, make_result):
    file = write(folder, record, [make_result(0)])
    newer = {FORMAT_KEY: str(FORMAT + 1).encode()}
    pq.write_table(pq.read_table(file).replace_schema_metadata(newer), file)

    with pytest.raises(FerError, match=rf"{file.name} has format {FORMAT + 1}; .* up to {FORMAT}"):
        search.read_leaderboard("synthetic", record.leaderboards)


def test_a_damaged_file_is_named(folder, record, make_result):
    file = write(folder, record, [make_result(0)])
    file.write_bytes(file.read_bytes()[:100])

    with pytest.raises(FerError, match=f"{file.name} is damaged"):
        search.read_leaderboard("synthetic", record.leaderboards)


def test_a_part_and_a_sealed_test_without_a_metric_of_today_leave_its_columns_empty(
    folder, record, make_result
):
    part = json.loads(make_result(0).to_json())
    del part["val_macro_f1"], part["rung_uars"]
    folder.write_result(parts.from_json(json.dumps(part)))
    sealed = {name: value for name, value in SEALED.items() if name != "test_macro_f1"}
    write_atomically(folder.sealed_test(0), json.dumps(sealed).encode())

    (row,) = pd.read_parquet(write(folder, record, [folder.result(0)])).to_dict("records")

    assert (row["val_war"], row["test_war"]) == (0.6, 0.5)
    assert pd.isna([row["val_macro_f1"], row["test_macro_f1"]]).all()


NEW_METRIC = """\
    error_rate: float = field(metadata={"of": lambda n: 1 - n.hits.sum() / len(n.labels)})
"""
SCORE = """
import json, sys
import numpy as np
import pandas as pd
from types import SimpleNamespace
from fer_core.scoring import score
from fer_core.storage.stages import Work
from fer_core.trial.results import FoldResult, SealedResult
from search.cluster.sealed_test import write_sealed_scores
from search.cluster.trial_record import Account
from search.results.board import write
from search.results.columns import FORMAT, FORMAT_KEY
from search.study import parts
from search.study.folder import Folder, Record
from pathlib import Path

labels, right = np.array([0, 1]), np.eye(2, dtype=np.float32)
wrong = right[[0, 0]]
given = json.load(open(sys.argv[1]))
folder, record = Folder(Path(given["folder"])), Record(**given["record"])
common = dict(labels=labels, clips=("a", "b"), subjects=np.array(["s", "t"]))
common |= dict(frame_probabilities=right[:, None], losses=(1.0,))
cost = dict(train_seconds=1.0, params=1, peak_memory_gib=0.1, device="cpu")
folds = [
    FoldResult(
        fold=fold, metrics=score(labels, shown), probabilities=shown, **common, **cost,
        weights_source="none", work=Work(), skipped={},
    )
    for fold, shown in enumerate((right, wrong))
]
Account(folder, 1, given["config"]).at_rung(folds, None, reached=None, last=True)
write_sealed_scores(folder, 1, SealedResult(
    metrics=score(labels, wrong), subjects=np.array(["u", "v"]), clips=("a", "b"),
    labels=labels, probabilities=wrong,
))
board = pd.read_parquet(write(folder, record, [folder.result(0), folder.result(1)]))
print(board.set_index("trial").T.to_json())
"""


@pytest.mark.slow
def test_a_metric_that_is_added_in_one_line_is_on_the_board(folder, record, make_result, tmp_path):
    folder.write_result(make_result(0))  # by a version without the metric
    for package in ("fer_core", "search"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignored)
    scoring = tmp_path / "copy" / "fer_core" / "scoring.py"
    before, macro_f1, after = scoring.read_text().partition("    macro_f1: float = field(")
    scoring.write_text(before + NEW_METRIC + macro_f1 + after)
    task = tmp_path / "task.json"
    values = {"folder": str(folder.path), "record": asdict(record), "config": CONFIG.to_json()}
    task.write_text(json.dumps(values))

    done = subprocess.run(
        [sys.executable, "-c", SCORE, str(task)],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "copy")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    old, new = (json.loads(done.stdout)[trial] for trial in "01")
    assert (new["val_error_rate"], new["test_error_rate"]) == (0.25, 0.5)
    assert (new["val_war"], new["test_war"]) == (0.75, 0.5)
    assert (old["val_error_rate"], old["test_error_rate"], old["val_war"]) == (None, None, 0.6)
    added = [f"{side}_error_rate{end}" for side in ("val", "test") for end in ("", "_low", "_high")]
    assert [name for name in new if name not in added] == [
        c for c in COLUMNS.split() if c != "trial"
    ]


def test_a_resumed_study_never_takes_rows_from_its_board(folder, record, make_result):
    before = [make_result(0), make_result(1)]
    write(folder, record, before)
    board = Board(folder, record)

    board.begin(before)
    untouched = len(pd.read_parquet(board.path))
    board.add(make_result(2))

    assert untouched == 2
    assert list(pd.read_parquet(board.path)["trial"]) == [0, 1, 2]


def test_the_test_column_is_called_empty_where_nobody_was_tested(folder, record, make_result):
    board = pd.read_parquet(write(folder, record, [make_result(0)]))

    explained = ranking.explained(ranking.rank(board))

    assert "test_uar [95 %]: empty: no trial had a test on sealed subjects." in explained
