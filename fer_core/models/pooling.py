"""Pooling of a map over its positions, to one vector."""

from torch import Tensor

from fer_core.config import POOLINGS
from fer_core.errors import ConfigError, unknown

GEM_POWER = 3.0  # Radenovic et al. 2018, https://arxiv.org/abs/1711.02512, section 3.2
GEM_LEAST = 1e-6  # ibid., released code: a root has no slope at zero


def pool(maps: Tensor, kind: str) -> Tensor:
    """Pool maps (B, C, *positions) to (B, D): D is C, or for "none" C times the positions.

    "gem" is the generalised mean with a fixed power; the paper may train it.

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
