"""Which machines the cluster has, which of them were lost, and which keep failing."""

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

FAILING = 3  # deaths on a node, or losses of it, after which no pack goes there
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")  # `ray up` leaves a cluster's file there
_ANSWER_SECONDS = 2.0  # a raylet that is killed refuses at once, one that is cut off never answers
_PAUSES_SECONDS = 0.0, 0.7, 0.7  # before each time that a node is asked whose worker died
_SAMPLE_SECONDS = 1.0  # between two looks
_RECENT_SECONDS = 60.0  # a worker that died before it was seen anywhere may be of a node lost then


class Nodes:
    """Looks at the nodes of the cluster that the driver is connected to."""

    def __init__(self) -> None:
        self._alive: dict[str, dict[str, Any]] = {}  # what Ray says of those seen last, by id
        self._reachable: set[str] = set()  # whose raylets answer the driver at all
        self._gone: dict[str, float] = {}  # when it was noticed, by id
        self._lost: set[str] = set()  # those that went while a pack ran there, by id
        self._losses: Counter[str] = Counter()  # by address: a node that comes back has another id
        self._deaths: defaultdict[str, list[frozenset[str]]] = defaultdict(list)  # what ran, by id
        self._barred: set[str] = set()  # they do not see what they must, or their disk is full
        self._due = 0.0
        self.look()

    def look(self, busy: Collection[str] = ()) -> ClusterState:
        """Note who has joined, and who is gone: lost if it was `busy`, on which packs run."""
        now, before = time.monotonic(), self._alive
        there = {node["NodeID"]: node for node in _nodes() if node["Alive"]}
        for node in [node for node in there if now - self._gone.get(node, now) > _RECENT_SECONDS]:
            del self._gone[node]  # Ray still has it: it had not answered for a while
            self._lost.discard(node)
        self._alive = {node: said for node, said in there.items() if node not in self._gone}
        joined = [said for node, said in self._alive.items() if node not in before]
        gone = {node: said for node, said in before.items() if node not in self._alive}
        self._reachable |= {said["NodeID"] for said in joined if _answers(said)}
        for node, said in gone.items():
            self._note(said, lost=node in busy)
        gpus, free = (each().get("GPU", 0.0) for each in (_resources, _available))
        return ClusterState(
            nodes=len(self._alive),
            gpus=gpus,
            gpus_used=gpus - free,
            joined=tuple(map(_address, joined)),
            lost=tuple(_address(gone[node]) for node in gone.keys() & self._lost),
            left=tuple(_address(gone[node]) for node in gone.keys() - self._lost),
        )

    def sample(self, busy: Collection[str]) -> ClusterState | None:
        """Look, unless that was done just before."""
        if time.monotonic() < self._due:
            return None
        found = self.look(busy)
        self._due = time.monotonic() + _SAMPLE_SECONDS
        return found

    def lost(self, node: str | None) -> bool:
        """Whether a node is gone; None: whether any went lately, since it may have been that.

        Ray learns of it late, so whoever it takes to be alive is asked.
        """
        recent = time.monotonic() - _RECENT_SECONDS
        if node is None and any(at > recent for at in self._gone.values()):
            return True
        ids = list(self._alive) if node is None else [node]
        asked = [said for said in _nodes() if said["NodeID"] in ids]
        with ThreadPoolExecutor(len(asked) or 1) as pool:  # each takes seconds
            stays = zip(asked, pool.map(self._stays, asked), strict=True)
            gone = [said for said, there in stays if not there]
        for said in gone:
            self._note(said, lost=True)
        return bool(gone) or not asked

    def bar(self, node: str) -> bool:
        """Avoid a node from now on; give whether another can take its place."""
        self._barred.add(node)
        return node in self.avoided(())

    def died(self, node: str, config_jsons: Collection[str]) -> None:
        """Note that a worker died of itself, and what it ran.

        That of a repeat tells nothing new of its node: it may be the trial that kills its workers.
        """
        ran = frozenset(config_jsons)
        if all(ran.isdisjoint(each) for each in self._deaths[node]):
            self._deaths[node].append(ran)

    def avoided(self, config_jsons: Collection[str]) -> list[str]:
        """Name the nodes that keep failing, or on which one of these died: never all there are."""
        ran = frozenset(config_jsons)
        found = [
            node
            for node, said in self._alive.items()
            if node in self._barred
            or len(self._deaths[node]) >= FAILING
            or self._losses[_address(said)] >= FAILING
            or not all(ran.isdisjoint(each) for each in self._deaths[node])
        ]
        usable = [said["Resources"] for node, said in self._alive.items() if node not in found]
        # Only where another can do what it does: a head without CPUs can not, nor one without GPUs.
        return [
            node
            for node in found
            if any(_is_as_large(each, self._alive[node]["Resources"]) for each in usable)
        ]

    def _stays(self, said: Mapping[str, Any]) -> bool:
        """Whether a node still answers after a while: what is shut down ends its workers first."""
        node = said["NodeID"]
        if not said["Alive"] or node in self._gone:
            return False
        if node not in self._reachable:
            return True
        for pause in _PAUSES_SECONDS:
            time.sleep(pause)
            if not _answers(said):
                return False
        return True

    def _note(self, said: Mapping[str, Any], *, lost: bool) -> None:
        """Note that a node is gone; only one that was `lost` is held against its address."""
        node = said["NodeID"]
        self._gone.setdefault(node, time.monotonic())
        if lost and node not in self._lost:
            self._lost.add(node)
            self._losses[_address(said)] += 1


def most(resources: Mapping[str, float], *, growing: bool) -> int:
    """Count how many bundles of these resources the nodes hold that there are, or may come.

    `growing`: the cluster starts nodes as they are asked for, by the file on this machine.
    """
    nodes = [(said["Resources"], 1) for said in _nodes() if said["Alive"]]
    there = sum(_holds(each, resources) * count for each, count in nodes)
    return max(there, sum(_holds(each, resources) * count for each, count in _types(growing)))


def may_come() -> bool:
    """Whether there are fewer nodes than the cluster starts as they are asked for."""
    alive = sum(1 for said in _nodes() if said["Alive"])
    return alive < sum(count for _, count in _types(growing=True))


def may_grow() -> bool:
    """Whether this machine heads a cluster that starts nodes as they are asked for."""
    return BOOTSTRAP.expanduser().is_file()


def _types(growing: bool) -> Iterator[tuple[Mapping[str, float], int]]:
    """Give the resources of each type of node, and how many of them there may be.

    Ray 2.60 tells no driver of them (`get_max_resources_from_cluster_config` has nobody who fills
    it), so they are read where its autoscaler reads them.
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


def _holds(has: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    return min(
        (int(has.get(name, 0) / each + 1e-9) for name, each in wanted.items() if each), default=1
    )


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]  # Ray's


def _resources() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]  # Ray's


def _available() -> dict[str, float]:
    return dict(ray.available_resources())  # type: ignore[no-untyped-call]  # Ray's


def _address(said: Mapping[str, Any]) -> str:
    return str(said["NodeManagerAddress"])


def _answers(said: Mapping[str, Any]) -> bool:
    at = said["NodeManagerAddress"], said["NodeManagerPort"]
    try:
        socket.create_connection(at, _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True
