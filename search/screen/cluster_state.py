"""What the screen shows of a cluster at one moment.

`search/cluster/nodes.py` counts it, and `progress.py` prints what changed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """The cluster at a moment."""

    nodes: int
    gpus: float
    gpus_used: float
    joined: tuple[str, ...] = ()  # addresses, since the last sample
    lost: tuple[str, ...] = ()  # on which a pack ran
    left: tuple[str, ...] = ()  # gone, and no pack with it
