import pytest

from fer_core.errors import ConfigError
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.study.journal import Journal
from search.study.journal_backends import file_storage

C3D = 'StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)'
IMPORTS = "from fer_core.config import Config, OptimizerConfig, StreamConfig\n"


def refusal(path, **options):
    with pytest.raises(ConfigError) as caught:
        spaces.check(spaces.load(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_space_file_lists_the_others_and_suggests_the_nearest(write_space):
    path = write_space("")

    message = refusal(path.with_name("tay.py"))

    assert f"did you mean '{path}'" in message


def test_a_space_that_does_not_load_is_reported_in_one_line(write_space):
    message = refusal(write_space("import no_such_module"))

    assert message.endswith("toy.py: ModuleNotFoundError: No module named 'no_such_module'")


def test_a_file_without_a_function_space_is_no_space(write_space):
    assert "has no function space(trial)" in refusal(write_space("x = 1"))


def test_a_space_that_raises_is_reported_in_one_line(write_space):
    message = refusal(write_space("def space(trial):\n    raise KeyError('width')"))

    assert message.endswith("toy.py: KeyError: 'width'")


def test_a_space_that_gives_no_config_is_refused(write_space):
    assert "returned a int" in refusal(write_space("def space(trial):\n    return 1"))


def test_a_config_out_of_range_names_the_space_and_the_field(write_space):
    space = f"{IMPORTS}def space(trial):\n    return Config(streams=())"

    message = refusal(write_space(space))

    assert "toy.py: streams is ()" in message


@pytest.mark.parametrize(
    ("suggestion", "ranges"),
    [
        ("trial.suggest_int('x', 1, 4 if big else 2)", ("1 to 2", "1 to 4")),
        ("trial.suggest_float('x', 0.1, 0.2, log=big)", ("0.1 to 0.2", "0.1 to 0.2 (log)")),
        ("trial.suggest_categorical('x', ['a', 'b'] if big else ['a'])", ("['a']", "['a', 'b']")),
    ],
)
def test_a_name_with_two_ranges_is_refused_and_both_are_named(write_space, suggestion, ranges):
    body = f"big = trial.suggest_categorical('big', [False, True]); {suggestion}"
    path = write_space(f"{IMPORTS}def space(trial):\n    {body}; return Config(streams=({C3D},))")

    message = refusal(path)

    assert "parameter 'x' has two ranges" in message
    assert all(text in message for text in ranges)


def test_a_name_with_two_ranges_in_one_draw_is_refused_too(write_space):
    body = "trial.suggest_int('x', 1, 2); trial.suggest_int('x', 1, 5)"
    path = write_space(f"{IMPORTS}def space(trial):\n    {body}; return Config(streams=({C3D},))")

    message = refusal(path)

    assert "two ranges in the same trial" in message
    assert '"x"' in message


@pytest.mark.parametrize("body", ["raise SystemExit(0)", "import sys; sys.exit()"])
def test_a_space_that_exits_does_not_end_the_search_in_silence(write_space, body):
    assert "SystemExit" in refusal(write_space(f"{IMPORTS}def space(trial):\n    {body}"))


def test_what_a_space_prints_stays_out_of_the_data(write_space, capsys):
    path = write_space(
        f"{IMPORTS}print('a')\ndef space(trial):\n    print('b'); return Config(streams=({C3D},))"
    )

    spaces.check(spaces.load(path))

    assert capsys.readouterr().out == ""


def test_the_same_seed_draws_the_same_configs(space):
    first, second, other = (
        [config for _, config in spaces.draws(space, seed=seed, count=4)] for seed in (1, 1, 2)
    )

    assert first == second
    assert first != other


def test_a_study_starts_with_the_configs_that_the_plan_draws(space, journal, make_result):
    planned = [config for _, config in spaces.draws(space, seed=0, count=8)]

    started = []
    for _ in planned:
        trial = journal.ask()
        started.append(space.draw(trial))
        journal.finish(make_result(trial.number))

    assert started == planned


POINTS = "POINTS = ({'x': 1}, {'x': 3})\n"
OF_POINTS = f"{IMPORTS}{POINTS}def space(trial):\n    "


def test_a_space_that_enumerates_its_points_is_checked_at_each_of_them(enumerated):
    drawn = [config.optimizer.lr for config in spaces.check(enumerated)]

    assert drawn == [1e-2, 1e-3, 1e-4]


@pytest.mark.parametrize(
    ("suggested", "expected"),
    [
        (
            "trial.suggest_int('x', 1, 2)",
            "does not suggest: Fixed parameter x with value 3",
        ),
        ("trial.suggest_int('y', 1, 9)", "POINTS[0] is {'x': 1}"),
        ("None", "a point must name exactly the suggested parameters"),
    ],
)
def test_a_point_that_the_space_does_not_make_is_refused(write_space, suggested, expected):
    message = refusal(write_space(f"{OF_POINTS}{suggested}; return Config(streams=({C3D},))"))

    assert expected in message


def test_the_names_of_the_config_are_no_points(write_space):
    path = write_space(
        """
        from fer_core.config import *


        def space(trial):
            stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
            return Config(streams=(stream,))
        """
    )

    assert spaces.load(path).points == ()


def test_points_that_are_no_tuple_of_dicts_are_refused(write_space):
    message = refusal(write_space("POINTS = [1]\ndef space(trial): pass"))

    assert message.endswith("POINTS must be a tuple of dicts of parameters.")


FIRST = "FIRST = ({'x': 7}, {'y': 0.5, 'x': 3})\n"
OF_FIRST = (
    f"{IMPORTS}{FIRST}def space(trial):\n    trial.suggest_int('x', 1, 9)\n"
    f"    rate = 1e-3 + trial.suggest_float('y', 0, 1)\n"
    f"    return Config(streams=({C3D},), optimizer=OptimizerConfig(lr=rate))\n"
)


def test_known_good_parameters_are_drawn_first_and_the_sampler_adds_the_others(
    write_space, folder, make_result
):
    space = spaces.load(write_space(OF_FIRST))
    journal = Journal(folder, file_storage(folder), Draws(seed=0, first=space.first))
    foreseen = [trial.params for trial, _ in spaces.draws(space, seed=0, count=4)]

    drawn = []
    for _ in range(4):
        trial = journal.ask()
        config = journal.draw(trial, space)
        drawn.append(dict(trial.params))
        journal.finish(make_result(trial.number, config=config))

    assert drawn[0]["x"] == 7
    assert drawn[1] == {"x": 3, "y": 0.5}
    assert drawn == foreseen
    assert len({params["y"] for params in drawn}) == 4


def test_a_known_good_config_that_was_interrupted_is_tried_again(write_space, folder):
    space = spaces.load(write_space(OF_FIRST))
    journal = Journal(folder, file_storage(folder), Draws(seed=0, first=space.first))
    lost = journal.ask()
    journal.interrupt(lost.number, counts=False)

    again = journal.ask()
    journal.draw(again, space)

    assert again.params["x"] == 7


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("FIRST = [1]\n", "FIRST must be a tuple of dicts"),
        ("FIRST = ({'z': 1},)\n", r"FIRST\[0\] names z, which space\(trial\) does not suggest"),
        ("FIRST = ({'x': 1},)\nPOINTS = ({'x': 1},)\n", "leave FIRST out"),
    ],
)
def test_a_list_of_first_parameters_that_cannot_be_followed_is_refused(write_space, listed, said):
    path = write_space(OF_FIRST.replace(FIRST, listed))

    with pytest.raises(ConfigError, match=said):
        spaces.check(spaces.load(path))
