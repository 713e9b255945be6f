"""On faces that are given, the default view of a space becomes the whole picture."""

from dataclasses import replace

import pytest
from optuna.trial import FixedTrial

from fer_core.config import GIVEN
from search.drawing import space as spaces
from search.drawing.given_faces import about_given
from search.drawing.space import RefusedError
from search.drawing.suited import suited

HEAD = """
    from fer_core.config import ClipConfig, Config, FusionConfig, GeometryConfig, StreamConfig

    def stream(**fields):
        return StreamConfig(backbone="dlib_resnet", weights="random", blocks=4, freeze_depth=4,
                            pooling="avg", **fields)

    def space(trial):
        """
DEFAULT = "return Config(streams=(stream(),))"
CONSTANT = 'return Config(streams=(stream(), stream(view="crop")), fusion=FusionConfig())'
DRAWN = """view = trial.suggest_categorical("view", ["crop", "aligned"])
        return Config(streams=(stream(view=view),))"""
POINTS = "return Config(streams=(GeometryConfig(),))"


@pytest.fixture
def given(photographs):
    return replace(photographs, given_faces=True, missing="fallback")


def views(space, data, **drawn):
    config = suited(space, data).draw(FixedTrial(drawn))
    return [stream.view for stream in config.images]


def test_the_default_view_becomes_the_whole_picture_where_faces_are_given(
    write_space, photographs, given
):
    space = spaces.load(write_space(HEAD + DEFAULT))

    assert views(space, photographs) == ["aligned"]
    assert views(space, given) == [GIVEN]


def test_a_view_that_the_space_names_stays(write_space, given):
    assert views(spaces.load(write_space(HEAD + CONSTANT)), given) == [GIVEN, "crop"]


@pytest.mark.parametrize("view", ["crop", "aligned"])
def test_a_view_that_the_space_draws_stays(write_space, given, view):
    assert views(spaces.load(write_space(HEAD + DRAWN)), given, view=view) == [view]


def test_points_are_refused_where_over_a_tenth_of_the_clips_have_no_landmarks(write_space, given):
    space = spaces.load(write_space(HEAD + POINTS))

    suited(space, replace(given, without_landmarks=0.1)).draw(FixedTrial({}))
    with pytest.raises(RefusedError, match=r"none are found in 12\.0% of the clips"):
        suited(space, replace(given, without_landmarks=0.12)).draw(FixedTrial({}))


def test_an_apex_is_not_looked_for_in_whole_pictures(write_space, given):
    apex = 'return Config(streams=(stream(),), clip=ClipConfig(sampling="onset_apex"))'
    space = spaces.load(write_space(HEAD + apex))

    with pytest.raises(RefusedError, match=r"clip\.sampling is 'onset_apex'; it must be another"):
        suited(space, replace(given, clip=None)).draw(FixedTrial({}))


def test_the_first_lines_say_what_landmarks_are_looked_for(write_space, given):
    drawn = [
        suited(spaces.load(write_space(HEAD + text)), given).draw(FixedTrial({}))
        for text in (CONSTANT, POINTS)
    ]

    first, second = about_given(drawn)

    assert first.startswith("the faces are given: the view 'given'")
    assert second == "the space also reads crop, points: their landmarks are looked for"
    assert len(list(about_given(drawn[:0]))) == 1
