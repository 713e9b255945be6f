"""Weights that older versions saved load today: parameters keep their names."""

import pytest

from fer_core.config import FusionConfig, GeometryConfig
from tests.fer_core.models.parts import PARTS, built, of, stored, stream

FC = [f"fc.{i}.{kind}" for i in (1, 4) for kind in ("weight", "bias")]
CLASSIFIER = ["classifier.1.weight", "classifier.1.bias"]
GRU = [f"cell.cell.{kind}_{reads}_l0" for kind in ("weight", "bias") for reads in ("ih", "hh")]
CONV = ["weight", "bias"]
STATISTICS = ["running_mean", "running_var", "num_batches_tracked"]


def below(prefix, names):
    return [f"{prefix}.{name}" for name in names]


TWO_STREAMS = of(stored(), GeometryConfig(hidden=6), fusion=FusionConfig(point="fc1"))
SAVED = {
    "frames of stored features vote": (
        PARTS["voting mean_probability"],
        below("shared", [*FC, *CLASSIFIER]),
    ),
    "a cell": (PARTS["cell gru"], below("shared", [*GRU, *FC, *CLASSIFIER])),
    "attention": (
        PARTS["voting attention"],
        below("shared", ["cell.weigh.weight", "cell.weigh.bias", *FC, *CLASSIFIER]),
    ),
    "two streams that meet after a layer": (
        TWO_STREAMS,
        [
            *below("readers.1.layers.1", CONV),
            *below("ways.0.fc.1", CONV),
            *below("ways.1.fc.1", CONV),
            *below("shared", ["fc.1.weight", "fc.1.bias", *CLASSIFIER]),
        ],
    ),
    "a trained backbone": (
        of(stream("vgg16", blocks=1)),
        [
            *below("readers.0.blocks.0.0", CONV),
            *below("readers.0.blocks.0.2", CONV),
            *below("readers.0.standardise", STATISTICS),
            *below("shared", [*FC, *CLASSIFIER]),
        ],
    ),
    "two heads": (
        PARTS["two heads"],
        below(
            "shared",
            [
                *FC[:2],
                *below("classifier.1.emotion", CONV),
                *below("classifier.1.authenticity", CONV),
            ],
        ),
    ),
}


@pytest.mark.parametrize("kind", SAVED)
def test_the_names_in_saved_weights_stay_as_they_were(kind):
    config, names = SAVED[kind]

    assert list(built(config).network.state_dict()) == names
