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
    return lambda scores: card.text(model, result, record, scores)


def test_a_headlines_card_has_its_test_score(write_card):
    interval = {"test_uar": 0.9, "test_uar_low": 0.7, "test_uar_high": 0.96}

    text = write_card(TESTED | interval | {"headline": True})

    assert "| sealed, 5 subjects, 60 clips | 0.900, 95 % [0.700, 0.960] |" in text


def test_another_winners_card_has_its_difference_and_no_score(write_card):
    assert "-0.031, 95 % [-0.120, 0.050] to the headline" in write_card(TESTED | DIFFERENCE)
    assert "not shown: this trial is not its study's headline" in write_card(TESTED)
