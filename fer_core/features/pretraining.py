"""The stored stage of what is fitted without labels: scae and cdbn, on the training frames."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.arrays import Array
from fer_core.config import StreamConfig
from fer_core.features.context import TrialContext
from fer_core.models.backbones import Backbone, cdbn, scae
from fer_core.storage.stages import Shard, read_or_make

MOST_IMAGES = 4096  # evenly among the training frames: layers this small learn no more from more
FITS: Mapping[str, Callable[..., Any]] = {"scae": scae.fit, "cdbn": cdbn.fit}
_CODE = 1  # raise it when the same input gives another result


def fitted(
    backbone: Backbone,
    stream: StreamConfig,
    images: Callable[[int], Tensor],
    lineage: Mapping[str, Any],
    context: TrialContext,
) -> Backbone:
    """Give the backbone with the weights that the training frames gave it, as stored.

    `images` gives at most so many preprocessed frames; `lineage` says which they are.
    """
    assert stream.pretrain is not None
    blocks = copy.deepcopy(backbone.blocks).to(context.device)

    def make() -> tuple[Array, dict[str, Any]]:
        curves = FITS[stream.backbone](
            blocks, images(MOST_IMAGES), stream.pretrain, context.study_data.seed
        )
        return _values(blocks), {"curves": [[asdict(epoch) for epoch in curve] for curve in curves]}

    parts = {
        "code": _CODE,
        "most": MOST_IMAGES,
        "torch": ".".join(torch.__version__.split(".")[:2]),
        "device": context.device.type,
        **lineage,
    }
    shard = Shard("pretrain", parts, make)
    entry = read_or_make(context.store, [shard], context.tally)[0]
    _fill(blocks, np.array(entry.array))
    return replace(backbone, blocks=blocks.cpu(), weights_sha256=shard.key, source="fitted")


def _values(blocks: nn.Module) -> Array:
    values: Array = torch.cat([t.flatten().float() for t in blocks.state_dict().values()]).numpy(
        force=True
    )
    return values


def _fill(blocks: nn.Module, values: Array) -> None:
    state = blocks.state_dict()
    pieces = torch.split(torch.from_numpy(values), [t.numel() for t in state.values()])
    named = zip(state.items(), pieces, strict=True)
    blocks.load_state_dict({name: piece.view_as(like) for (name, like), piece in named})
