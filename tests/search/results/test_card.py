from dataclasses import replace

import pytest
from torch import nn

from fer_core.config import from_json
from fer_core.trial.fitted_model import Model
from search.results import card

TESTED = {"test_subjects": 5, "test_clips": 60, "headline": False}
DIFFERENCE = {
    "test_difference": -0.031,
    "test_difference_low": -0.12,
    "test_difference_high": 0.05,
}


@pytest.fixture
def write_card(make_result, record):
    """Write the card of a model whose study had that kind of split and those sealed scores."""
    result = make_result(0)
    config = from_json(result.config_json)
    model = Model(
        config=config,
        task="hidden",
        classes=("a", "b"),
        encoders=(),
        network=nn.Identity(),
        clip=config.clip,
        frame_seconds=0.04,
        landmarks="dlib",
        surface=None,
    )

    def write(scores=None, split=None, nested=None):
        return card.text(model, result, replace(record, split=split), scores, nested)

    return write


def test_a_card_says_by_clip_where_people_may_be_on_several_sides(write_card):
    assert "The split is by-clip, not subject-independent" in write_card(split="by-clip")


def test_a_card_says_subject_independent_where_the_split_is(write_card):
    assert "The split is subject-independent." in write_card(split="subject-independent")
    assert "by-clip" not in write_card(split="subject-independent")


def test_a_headlines_card_has_its_test_score(write_card):
    interval = {"test_uar": 0.9, "test_uar_low": 0.7, "test_uar_high": 0.96}

    text = write_card(TESTED | interval | {"headline": True})

    assert "| sealed, 5 subjects, 60 clips | 0.900, 95 % [0.700, 0.960] |" in text


def test_another_winners_card_has_its_difference_and_no_score(write_card):
    assert "-0.031, 95 % [-0.120, 0.050] to the headline" in write_card(TESTED | DIFFERENCE)
    assert "not shown: this trial is not its study's headline" in write_card(TESTED)


def test_a_nested_score_is_that_of_the_procedure(write_card):
    scores = {"test_uar": 0.4, "test_uar_low": 0.3, "test_uar_high": 0.5, "test_subjects": 10}

    text = write_card(nested={"scores": scores, "folds": 5})

    assert "| nested, 10 subjects in 5 folds, each sealed once | 0.400, 95 % [0.300, 0.500]" in text
    assert "The model itself was trained on all subjects." in text
