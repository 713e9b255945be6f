"""Where streams meet: several features, or several logits, to one.

At the logits, the sum and the product rule of Kittler et al. 1998,
https://doi.org/10.1109/34.667881: the mean of the streams' probabilities, or their product.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fer_core.config import FusionConfig
from fer_core.errors import ConfigError


def fused_dim(dims: Sequence[int], fusion: FusionConfig) -> int:
    """Count the features that streams of these sizes give together.

    Raises: ConfigError where sizes differ that must be one.
    """
    if fusion.how == "concat":
        return sum(dims)
    if len(set(dims)) > 1:
        raise ConfigError(
            f"fusion.how is '{fusion.how}' and the streams have {', '.join(map(str, dims))} "
            f"features at '{fusion.point}'; they must have equally many: fuse at 'fc1' or by "
            "'concat'."
        )
    return dims[0]


def fuse(streams: Sequence[Tensor], fusion: FusionConfig) -> Tensor:
    """Join features, each (..., B, D) or (..., B, T, D); one of a clip goes to each frame."""
    if fusion.point == "logits" and fusion.how != "concat":
        streams = [torch.log_softmax(stream, dim=-1) for stream in streams]
    most = max(streams, key=lambda stream: stream.ndim)
    shape = most.shape[:-1]
    same = [s if s.ndim == most.ndim else s.unsqueeze(-2).expand(*shape, -1) for s in streams]
    if fusion.how == "concat":
        return torch.cat(same, dim=-1)
    stacked = torch.stack(same)
    if fusion.point == "logits":
        mean = torch.logsumexp(stacked, dim=0) - math.log(len(same))
        return mean if fusion.how == "sum" else stacked.sum(dim=0)
    return stacked.sum(dim=0) if fusion.how == "sum" else stacked.prod(dim=0)
