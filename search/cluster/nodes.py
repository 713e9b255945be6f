"""Watch the machines of the cluster: which are there, which were lost, and which keep failing.

A *node* is what Ray calls a machine of a cluster. `watch.py` looks at the nodes all the time while
a study runs. The searcher asks here whether a pack lost its node, and which nodes a pack should
avoid. `tuner.py` asks how many packs the nodes can hold.
"""

import socket
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
import yaml  # type: ignore[import-untyped]  # Ray's own dependency

from search.screen.cluster_state import ClusterState

FAILING = 3  # a node where workers died, or that was lost, so often gets no more packs
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # `ray up` leaves the cluster's file there
_ANSWER_SECONDS = 2.0  # a killed raylet refuses a connection at once; one cut off never answers
_PAUSES_SECONDS = 0.0, 0.7, 0.7  # before each attempt to reach a node whose worker died
_SAMPLE_SECONDS = 1.0  # between two looks
_RECENT_SECONDS = 60.0  # a worker that died before its node was known may be of one lost since then

_Node = Mapping[str, Any]  # what Ray reports of a node


class Nodes:
    """Knows the nodes of the cluster that the driver is connected to, and what befell them."""

    def __init__(self) -> None:
        self._alive: dict[str, _Node] = {}  # nodes at the last look, by id
        self._reachable: set[str] = set()  # ids of nodes whose raylets once answered the driver
        self._gone: dict[str, float] = {}  # time at which the loss was noticed, by id
        self._lost: set[str] = set()  # ids of nodes that went while a pack ran there
        self._losses: Counter[str] = Counter()  # by address: a node that comes back has another id
        self._deaths: defaultdict[str, list[frozenset[str]]] = defaultdict(list)  # configs, by id
        self._excluded: set[str] = set()  # ids of nodes with a full disk or a missing file
        self._due = 0.0
        self.look()

    def look(self, busy: Collection[str] = ()) -> ClusterState:
        """Note which nodes have joined and which are gone.

        A node that is gone counts as lost if it is among the `busy` ones, on which packs run.
        """
        now, before = time.monotonic(), self._alive
        alive = {node["NodeID"]: node for node in _nodes() if node["Alive"]}
        back = [node for node in alive if now - self._gone.get(node, now) > _RECENT_SECONDS]
        for node_id in back:
            del self._gone[node_id]  # Ray never gave it up: it only did not answer for a while
            self._lost.discard(node_id)
        self._alive = {
            node_id: node for node_id, node in alive.items() if node_id not in self._gone
        }
        joined = [node for node_id, node in self._alive.items() if node_id not in before]
        gone = {node_id: node for node_id, node in before.items() if node_id not in self._alive}
        self._reachable |= {node["NodeID"] for node in joined if _answers(node)}
        for node_id, node in gone.items():
            self._note_gone(node, lost=node_id in busy)
        gpus, free = (resources.get("GPU", 0.0) for resources in (_resources(), _available()))
        return ClusterState(
            nodes=len(self._alive),
            gpus=gpus,
            gpus_used=gpus - free,
            joined=tuple(map(_address, joined)),
            lost=tuple(_address(gone[node_id]) for node_id in gone.keys() & self._lost),
            left=tuple(_address(gone[node_id]) for node_id in gone.keys() - self._lost),
        )

    def sample(self, busy: Collection[str]) -> ClusterState | None:
        """Look, as `look` does, unless the last look was less than a second ago."""
        if time.monotonic() < self._due:
            return None
        state = self.look(busy)
        self._due = time.monotonic() + _SAMPLE_SECONDS
        return state

    def is_lost(self, node: str | None) -> bool:
        """Return whether the node is gone.

        With None (unknown node): whether any node was lost in the last minute. Ray notices a loss
        late, so nodes that it reports alive are asked themselves.
        """
        recent = time.monotonic() - _RECENT_SECONDS
        if node is None and any(noticed > recent for noticed in self._gone.values()):
            return True
        ids = list(self._alive) if node is None else [node]
        asked = [each for each in _nodes() if each["NodeID"] in ids]
        with ThreadPoolExecutor(len(asked) or 1) as pool:  # each node takes seconds
            gone = [
                each
                for each, stays in zip(asked, pool.map(self._stays, asked), strict=True)
                if not stays
            ]
        for each in gone:
            self._note_gone(each, lost=True)
        return bool(gone) or not asked

    def exclude(self, node: str) -> bool:
        """Use a node no more from now on; return whether another one can take its place."""
        self._excluded.add(node)
        return node in self.to_avoid(())

    def note_death(self, node: str, config_jsons: Collection[str]) -> None:
        """Note that a worker died while its node lived on, and which configs it ran.

        If the same config kills a second worker on a node, the node is not blamed again: the trial
        itself may be what kills its workers.
        """
        ran = frozenset(config_jsons)
        if all(ran.isdisjoint(earlier) for earlier in self._deaths[node]):
            self._deaths[node].append(ran)

    def to_avoid(self, config_jsons: Collection[str]) -> list[str]:
        """List the nodes that a pack of these configs should not run on.

        These are nodes that are excluded, that keep failing, or on which a worker died with one of
        these configs. A node is avoided only if another one can do what it does, so never all.
        """
        ran = frozenset(config_jsons)
        suspects = [
            node_id
            for node_id, node in self._alive.items()
            if node_id in self._excluded
            or len(self._deaths[node_id]) >= FAILING
            or self._losses[_address(node)] >= FAILING
            or not all(ran.isdisjoint(earlier) for earlier in self._deaths[node_id])
        ]
        usable = [
            node["Resources"] for node_id, node in self._alive.items() if node_id not in suspects
        ]
        # A head without CPUs cannot take a worker's place, nor can a node without GPUs.
        return [
            node_id
            for node_id in suspects
            if any(_is_as_large(each, self._alive[node_id]["Resources"]) for each in usable)
        ]

    def _stays(self, node: _Node) -> bool:
        """Return whether a node still answers after a while.

        A machine that shuts down ends its workers first, and answers for a moment longer.
        """
        node_id = node["NodeID"]
        if not node["Alive"] or node_id in self._gone:
            return False
        if node_id not in self._reachable:
            return True
        for pause in _PAUSES_SECONDS:
            time.sleep(pause)
            if not _answers(node):
                return False
        return True

    def _note_gone(self, node: _Node, *, lost: bool) -> None:
        """Note that a node is gone; only a loss counts against its address."""
        node_id = node["NodeID"]
        self._gone.setdefault(node_id, time.monotonic())
        if lost and node_id not in self._lost:
            self._lost.add(node_id)
            self._losses[_address(node)] += 1


def most_bundles(resources: Mapping[str, float], *, growing: bool) -> int:
    """Count how many bundles of these resources the nodes can hold, each on one node.

    `growing`: the cluster starts nodes on demand, so count those too, by the file on this machine.
    """
    alive = sum(_bundles(node["Resources"], resources) for node in _nodes() if node["Alive"])
    at_most = sum(_bundles(each, resources) * count for each, count in _node_types(growing))
    return max(alive, at_most)


def may_join() -> bool:
    """Return whether there are fewer nodes than the cluster may start on demand."""
    alive = sum(1 for node in _nodes() if node["Alive"])
    return alive < sum(count for _, count in _node_types(growing=True))


def may_grow() -> bool:
    """Return whether this machine heads a cluster that starts nodes on demand."""
    return BOOTSTRAP.expanduser().is_file()


def _node_types(growing: bool) -> Iterator[tuple[Mapping[str, float], int]]:
    """Give, for each type of node, its resources and how many such nodes there may be.

    Ray 2.60 does not tell a driver about them (`get_max_resources_from_cluster_config` is never
    filled), so they are read from the file that its autoscaler reads.
    """
    file = BOOTSTRAP.expanduser()
    if not growing or not file.is_file():
        return
    described = yaml.safe_load(file.read_text())
    left = described.get("max_workers", 0)
    head = described.get("head_node_type")
    for name, kind in (described.get("available_node_types") or {}).items():
        count = 1 if name == head else min(left, kind.get("max_workers", 0))
        left -= 0 if name == head else count
        yield kind.get("resources") or {}, count


def _is_as_large(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    kinds = [kind for kind in ("CPU", "GPU") if other.get(kind)]
    return all(one.get(kind, 0) >= other[kind] for kind in kinds)


def _bundles(available: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Count how many bundles fit on one node."""
    counts = (
        int(available.get(name, 0) / amount + 1e-9) for name, amount in wanted.items() if amount
    )
    return min(counts, default=1)


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]  # Ray's


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]  # Ray's


def _available() -> dict[str, float]:
    return dict(ray.available_resources())  # type: ignore[no-untyped-call]  # Ray's


def _address(node: _Node) -> str:
    return str(node["NodeManagerAddress"])


def _answers(node: _Node) -> bool:
    """Return whether the node's raylet accepts a connection."""
    address = node["NodeManagerAddress"], node["NodeManagerPort"]
    try:
        socket.create_connection(address, _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
