"""Backbones that are fitted without labels (scae and cdbn), on the training frames of a fold.

An `ImageStream` asks for the fitted backbone before it opens the activations of such a stream. The
weights are the stage `pretrain` of the store, so each fold is fitted once for the whole study.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_core.arrays import Array
from fer_core.config import StreamConfig
from fer_core.features.context import Stage, TrialContext
from fer_core.models.backbones import Backbone, cdbn, scae
from fer_core.storage.memory_cache import memory_key
from fer_core.storage.stages import Shard, read_or_make

MOST_IMAGES = 4096  # spread evenly over the training frames; small layers learn nothing from more
FITS: Mapping[str, Callable[..., Any]] = {"scae": scae.fit, "cdbn": cdbn.fit}
_CODE = 1  # raise it when the same input gives another result


def fitted(
    backbone: Backbone,
    stream: StreamConfig,
    context: TrialContext,
    views: Stage,
    clips: Sequence[str],
    images: Callable[[int], Tensor],
) -> Backbone:
    """Give the backbone with weights fitted on the views of the training clips `clips`.

    `images(most)` gives at most `most` of the clips' preprocessed frames. The weights come from
    memory or from the store where another trial has fitted them.
    """
    choices = replace(stream, freeze_depth=0, pooling="none", pca_dim=None)
    seed = context.study_data.seed
    key = memory_key("pretrain", of=views.key, stream=choices, clips=tuple(clips), seed=seed)

    def read() -> Backbone:
        lineage = {
            "stream": asdict(choices),
            "views": [shard.key for shard in views.shards],
            "clips": list(clips),
            "seed": seed,
        }
        return _from_store(backbone, stream, images, lineage, context)

    return context.cached(key, read)


def _from_store(
    backbone: Backbone,
    stream: StreamConfig,
    images: Callable[[int], Tensor],
    lineage: Mapping[str, Any],
    context: TrialContext,
) -> Backbone:
    """Read the fitted weights from the store, or fit them; `lineage` names the training frames."""
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
    """Join all weights of the blocks in one array (values,)."""
    values: Array = torch.cat([t.flatten().float() for t in blocks.state_dict().values()]).numpy(
        force=True
    )
    return values


def _fill(blocks: nn.Module, values: Array) -> None:
    """Set the weights of the blocks from an array that `_values` made."""
    state = blocks.state_dict()
    pieces = torch.split(torch.from_numpy(values), [t.numel() for t in state.values()])
    named = zip(state.items(), pieces, strict=True)
    blocks.load_state_dict({name: piece.view_as(like) for (name, like), piece in named})
