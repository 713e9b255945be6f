"""The state of the cluster at one moment, as the screen shows it.

`search/cluster/nodes.py` counts the nodes and GPUs, and `progress.py` prints what has changed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ClusterState:
    """How many nodes and GPUs there are now, and which nodes came or went since the last state."""

    nodes: int
    gpus: float
    gpus_used: float
    joined: tuple[str, ...] = ()  # addresses of nodes that are new
    lost: tuple[str, ...] = ()  # addresses of nodes that disappeared while a pack ran there
    left: tuple[str, ...] = ()  # addresses of idle nodes that disappeared
