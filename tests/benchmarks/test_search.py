"""The table of `benchmarks/search.py`, and its rows at sizes that take seconds."""

import importlib.util
import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def search():
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "search.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def table(search):
    """Rows that stand in for those that take minutes."""
    result = search.Ratio(name="fast", value=4.0, target=3.0, came_from="8 s, 2 s")
    slow = search.Ratio(
        name="slow", value=2.0, target=1.0, at_most=True, came_from="1 s, 2 s", notes=("a note",)
    )

    def broken():
        raise ValueError("no such file")

    return {
        1: search.Row("one ratio", lambda: [result]),
        2: search.Row("two ratios", lambda: [result, slow]),
        3: search.Row("none", broken),
    }


def test_the_table_has_every_row_of_the_issue(search):
    assert list(search.ROWS) == list(range(1, 13))


def test_the_rows_that_are_asked_for_are_printed_and_written(search, table, tmp_path, capsys):
    file = tmp_path / "ratios.json"

    code = search.main(["--rows", "1,2", "--json", str(file)], table)

    said = capsys.readouterr().out
    assert code == 0
    assert "fast: 4x, at least 3x, met; 8 s, 2 s" in said
    assert "slow: 2x, at most 1x, NOT met; 1 s, 2 s\n        a note" in said
    written = json.loads(file.read_text())
    assert written == {"1": 4.0, "2": {"slow": 2.0, "fast": 4.0}}
    assert list(written["2"]) == ["slow", "fast"]  # the one that is farthest from its target


def test_a_row_that_cannot_run_says_why_and_the_others_go_on(search, table, capsys):
    code = search.main(["--rows", "3,1"], table)

    said = capsys.readouterr().out
    assert code == 1
    assert "could not run: ValueError: no such file" in said
    assert "fast: 4x" in said


def test_a_row_that_there_is_not_is_refused_with_those_there_are(search, capsys):
    with pytest.raises(SystemExit):
        search.main(["--rows", "1,13"])

    assert "there is no row '13'; the rows are 1, 2, 3," in capsys.readouterr().err


def test_stacked_heads_are_measured(search):
    shapes = search.heads.HEADS

    ratios = [
        search.heads.compared(name, *shapes[name], members=3, clips=64, repeats=1)
        for name in ("linear 512", "100-64-32", "rnn 64")
    ]

    assert all(ratio.value > 0 for ratio in ratios)


def test_a_reduced_head_loses_nothing(search):
    (ratio,) = search.unpooled.row(clips=(48,), features=512, width=32, steps=4)

    assert ratio.value > 0
    assert "1e-05 kept" in ratio.notes[0]


@pytest.mark.slow
def test_fine_tuning_is_measured(search):
    ratios = search.finetune.row(pixels=32, images=16, repeats=1)

    assert [ratio.name for ratio in ratios] == ["pool4", "pool3"]
    assert all(ratio.value > 0 for ratio in ratios)


@pytest.mark.slow
def test_racing_is_measured(search):
    (ratio,) = search.racing.row(seeds=1, trials=6, images=80, epochs=4)

    assert ratio.value > 0


def test_the_floor_counts_a_pass_and_a_head_as_they_are(search):
    stream = search.images.LARGE.stream
    drawn = search.cached.Config(streams=(stream,)).to_json()

    cost = search.images.floor.head_cost(drawn, 64)

    assert search.images.floor.pass_flops(stream) == pytest.approx(30.69e9, rel=1e-3)
    assert cost["flops"] == 64 * 20 * 2 * (2 * 512 * 6)  # forward and the weights' gradients
    assert cost["bytes"] == 2 * 20 * 28 * (512 * 6 + 6)


def number_of(search, row):
    """Measure a row that starts Ray at a size that takes a minute or two."""
    size = search.images.Size(pixels=32, configs=2, images=16, epochs=1)
    rows = {
        1: lambda: search.images.against_plain(size),
        2: lambda: search.images.against_images(size),
        3: lambda: search.images.against_extraction(size),
        4: lambda: search.cached.against_hand_cached(trials=6, processes=2, images=80, epochs=1),
        5: lambda: search.images.against_floor(size),
        6: lambda: search.again.row(size),
        11: lambda: search.cached.hourly(trials=6, images=80, epochs=1),
        12: lambda: search.cached.driver(few=12, many=20, images=80),
    }
    return rows[row]()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("default")  # of Ray, used as it comes
@pytest.mark.parametrize(
    "row", [2, 5, *(pytest.param(row, marks=pytest.mark.long) for row in (1, 3, 4, 6, 11, 12))]
)
def test_rows_that_start_ray_give_numbers(row, search):
    ratios = number_of(search, row)

    assert ratios
    assert all(math.isfinite(ratio.value) and ratio.value > 0 for ratio in ratios)
