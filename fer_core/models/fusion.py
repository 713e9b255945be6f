"""Fusion: join the features, or the logits, of several streams into one tensor.

A `FusionConfig` says where streams meet (its `point`) and how they are joined (its `how`); the
network calls `fuse` at that point. Logits can be joined by the sum rule or the product rule of
Kittler et al. 1998, https://doi.org/10.1109/34.667881: the result is the mean, or the product, of
the streams' class probabilities.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fer_core.config import FusionConfig
from fer_core.errors import ConfigError


def fused_dim(dims: Sequence[int], fusion: FusionConfig) -> int:
    """Count the features that `fuse` gives, from the number of features of each stream.

    Raises: ConfigError where streams are to be added or multiplied and their sizes differ.
    """
    if fusion.how == "concat":
        return sum(dims)
    if len(set(dims)) > 1:
        raise ConfigError(
            f"fusion.how '{fusion.how}' needs streams with equal numbers of features, but at "
            f"fusion.point '{fusion.point}' they have {', '.join(map(str, dims))}; use point "
            "'fc1', or how 'concat'."
        )
    return dims[0]


def fuse(streams: Sequence[Tensor], fusion: FusionConfig) -> Tensor:
    """Join the features or logits of streams.

    Each stream is (..., B, D), one row a clip, or (..., B, T, D), one row a frame. Where both
    kinds meet, the row of a clip is repeated for each of its frames. Joined logits of "sum" and
    "product" are log-probabilities; those of "product" are not normalised.
    """
    if fusion.point == "logits" and fusion.how != "concat":
        streams = [torch.log_softmax(stream, dim=-1) for stream in streams]
    longest = max(streams, key=lambda stream: stream.ndim)
    ndim, shape = longest.ndim, longest.shape[:-1]
    equal = [s if s.ndim == ndim else s.unsqueeze(-2).expand(*shape, -1) for s in streams]
    if fusion.how == "concat":
        return torch.cat(equal, dim=-1)
    stacked = torch.stack(equal)
    if fusion.point == "logits":
        mean = torch.logsumexp(stacked, dim=0) - math.log(len(equal))
        return mean if fusion.how == "sum" else stacked.sum(dim=0)
    return stacked.sum(dim=0) if fusion.how == "sum" else stacked.prod(dim=0)
