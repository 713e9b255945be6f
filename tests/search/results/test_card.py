from dataclasses import replace
from types import SimpleNamespace

import pytest

from fer_core.config import ClipConfig
from search.results import card


@pytest.fixture
def text(record, make_result):
    """Give the card of a model whose study had that kind of split."""

    def make(split):
        result = make_result(0)
        config = SimpleNamespace(family="dlib_resnet+linear", streams=(), images=(), config_id="c")
        model = SimpleNamespace(
            config=config,
            task="emotion",
            classes=("anger", "joy"),
            clip=ClipConfig(),
            frame_seconds=0.04,
            landmarks="dlib",
        )
        return card.text(model, result, replace(record, split=split), None)

    return make


def test_a_card_says_by_clip_where_people_may_be_on_several_sides(text):
    assert "The split is by-clip, not subject-independent" in text("by-clip")


def test_a_card_says_subject_independent_where_the_split_is(text):
    assert "The split is subject-independent." in text("subject-independent")
    assert "by-clip" not in text("subject-independent")
