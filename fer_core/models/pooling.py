"""Pooling of a map over its positions, to one vector."""

from torch import Tensor

from fer_core.config import POOLINGS
from fer_core.errors import ConfigError, unknown


def pool(maps: Tensor, kind: str) -> Tensor:
    """Pool maps (B, C, *positions) to (B, D): D is C, or for "none" C times the positions.

    Raises: ConfigError for an unknown kind.
    """
    match kind:
        case "none":
            return maps.flatten(1)
        case "avg":
            return maps.flatten(2).mean(dim=2)
        case "max":
            return maps.flatten(2).amax(dim=2)
        case _:
            raise ConfigError(unknown("pooling", kind, POOLINGS))
