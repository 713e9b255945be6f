from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from fer_core.errors import ConfigError
from search.drawing import space as spaces
from search.request import presets
from search.results import published
from search.study.options import Options

STUDY = spaces.load(Path(__file__).parents[3] / "spaces" / "study.py")
FACE = {"vgg16": "vgg_face.pth"}


def configs(dataset="synthetic", weights=FACE, space=STUDY):
    options = Options(space="spaces/study.py", dataset=dataset, weights=weights)
    return spaces.check(presets.runnable(space, options))


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [("sase_fe", 20), ("oulu_casia", 9), ("oulu_casia_ni_weak", 9), ("mmi", 29)],
)
def test_a_dataset_of_the_study_is_shown_its_own_rows_and_any_other_all(dataset, rows):
    drawn = configs(dataset)

    assert len(drawn) == rows
    assert rows == 29 or {published.repeated_by(c).dataset in dataset for c in drawn} == {True}


def test_with_vgg_face_the_published_networks_run():
    assert {s.width for c in configs() for s in c.images} == {1.0}
    assert presets.narrowing(configs()) is None


def test_without_vgg_face_every_preset_is_narrow_and_says_so():
    published_size, drawn = configs(), configs(weights={})

    for small, whole in zip(drawn, published_size, strict=True):
        assert {s.weights for s in small.images} == {"random"}
        assert small.stands_for == whole.stands_for
        assert small.family == whole.family
        assert small.head.fc_width == whole.head.fc_width // 8
        assert "1/8 of the published width, random weights, 64 px" in published.narrow(small)
    assert "no --weights vgg16=FILE" in presets.narrowing(drawn)


def test_a_config_that_stands_for_nothing_keeps_its_size(space):
    runnable = presets.runnable(space, Options(space="toy.py", dataset="sase_fe"))

    assert runnable.draw(FixedTrial({"lr": 0.01})) == space.draw(FixedTrial({"lr": 0.01}))


def test_a_row_that_was_never_printed_is_refused(space):
    def function(trial):
        return replace(space.function(trial), stands_for="t9-fase")

    with pytest.raises(ConfigError, match="did you mean 't9-face'"):
        configs(space=replace(space, function=function))
