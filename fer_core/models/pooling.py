"""Pooling: reduce a feature map to one vector, over all its positions.

Backbones end in maps; the stream readers and the feature extraction pool these, in the way that
`StreamConfig.pooling` names.
"""

from torch import Tensor

from fer_core.config import POOLINGS
from fer_core.errors import ConfigError, unknown

GEM_POWER = 3.0  # Radenovic et al. 2018, https://arxiv.org/abs/1711.02512, section 3.2
GEM_LEAST = 1e-6  # as in the paper's released code: the gradient of a root is infinite at zero


def pool(maps: Tensor, kind: str) -> Tensor:
    """Pool maps (B, C, *positions) to (B, D).

    D is C; only for "none", which flattens the maps, it is C times the number of positions. "gem"
    is the generalised mean with a fixed power, which the paper may also train.

    Raises: ConfigError for an unknown kind.
    """
    match kind:
        case "none":
            return maps.flatten(1)
        case "avg":
            return maps.flatten(2).mean(dim=2)
        case "max":
            return maps.flatten(2).amax(dim=2)
        case "gem":
            powers = maps.flatten(2).clamp(min=GEM_LEAST).pow(GEM_POWER)
            return powers.mean(dim=2).pow(1 / GEM_POWER)
        case _:
            raise ConfigError(unknown("pooling", kind, POOLINGS))
