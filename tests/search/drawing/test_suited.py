import pytest
from optuna.trial import FixedTrial

from fer_core.config import ONE_FRAME
from search.drawing import space as spaces
from search.drawing.space import RefusedError
from search.drawing.suited import suited

CLIPS = """
    from fer_core.config import ClipConfig, Config, GeometryConfig

    def space(trial):
        encoding = trial.suggest_categorical("encoding", ["procrustes", "motion"])
        frames = trial.suggest_int("frames", 1, 9)
        return Config(streams=(GeometryConfig(encoding=encoding),), clip=ClipConfig(frames=frames))
    """


def test_draws_that_differ_in_frames_are_one_config_of_photographs(write_space, photographs):
    space = suited(spaces.load(write_space(CLIPS)), photographs)

    drawn = {space.draw(FixedTrial({"encoding": "procrustes", "frames": n})) for n in (1, 5, 9)}

    assert [config.clip for config in drawn] == [ONE_FRAME]


def test_a_config_that_cannot_work_with_the_data_is_refused(write_space, photographs):
    space = suited(spaces.load(write_space(CLIPS)), photographs)

    with pytest.raises(RefusedError, match=r"toy\.py: geometry\.encoding is 'motion'; it must be"):
        space.draw(FixedTrial({"encoding": "motion", "frames": 5}))


def test_a_point_that_cannot_work_is_left_to_fail_as_a_trial(write_space, photographs):
    points = "POINTS = ({'encoding': 'motion', 'frames': 5},)\n"
    space = suited(spaces.load(write_space(f"{CLIPS}\n    {points}")), photographs)

    assert space.draw(FixedTrial(space.points[0])).clip == ONE_FRAME


def test_an_error_of_the_users_own_code_is_no_refusal(write_space, photographs):
    broken = spaces.load(write_space("def space(trial):\n    raise KeyError('width')"))

    with pytest.raises(spaces.ConfigError, match="KeyError: 'width'") as raised:
        suited(broken, photographs).draw(FixedTrial({}))

    assert not isinstance(raised.value, RefusedError)
