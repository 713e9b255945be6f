"""Look at the cluster's nodes while Ray Tune runs, and pass on what happened to them.

Tune calls this callback after each of its steps. It tells the progress which nodes joined or were
lost, the searcher when to look again at packs that wait, and the user when packs wait for long and
why Ray's autoscaler could not start a machine. `tuner.py` makes it.
"""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray import tune
from ray.autoscaler.v2.sdk import get_cluster_status

from search.cluster import nodes
from search.screen.cluster_state import ClusterState
from search.screen.progress import QUIET, Progress
from search.study.searcher import StudySearcher

_LAUNCH_SECONDS = 20.0  # between two looks at what the autoscaler could not start
_SHOWN = 300  # characters of a cloud's reason
# What AWS answers where an account may not start so many machines, on spot and on demand.
_QUOTA = ("MaxSpotInstanceCountExceeded", "VcpuLimitExceeded")
LONG_SECONDS = 300.0  # a pack waits for long after this; a cloud starts a machine within minutes


class Watch(tune.Callback):
    """Gives the searcher its nodes, and keeps it and the progress informed about them."""

    def __init__(self, searcher: StudySearcher, progress: Progress | None) -> None:
        self._searcher, self._progress = searcher, progress or Progress(verbosity=QUIET)
        self._nodes, searcher.print = nodes.Nodes(), self._progress.print
        searcher.nodes = self._nodes
        self._waiting_since: dict[str, float] = {}  # time of the first look, by waiting pack
        self._joined = time.monotonic()  # time at which the last node joined
        self._advised = False
        self._looked = -_LAUNCH_SECONDS  # time of the last look at failed launches
        self._told: set[tuple[str, str]] = set()  # kinds of machines, and why each did not start

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if state := self._nodes.sample(self._searcher.busy):
            self._pass_on(state)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._pass_on(self._nodes.look(self._searcher.busy))  # losses since the last sample

    def _pass_on(self, state: ClusterState) -> None:
        now, pending = time.monotonic(), self._searcher.pending
        self._progress.on_nodes(state, len(pending), self._searcher.preempted)
        if state.lost or state.left:
            self._searcher.on_loss()
        self._joined = now if state.joined else self._joined
        self._waiting_since = {pack: self._waiting_since.get(pack, now) for pack in pending}
        if pending and nodes.may_grow() and now - self._looked >= _LAUNCH_SECONDS:
            self._looked = now
            for line in self._failed_launches():
                self._progress.print(line)
        first = min(self._waiting_since.values(), default=now)
        waited = now - max(self._joined, first)
        if waited > LONG_SECONDS and not self._advised and nodes.may_join():
            self._advised = True
            self._progress.print(
                f"trials have waited {waited / 60:.0f} minutes for a machine, and none has "
                "joined; if there are no spot machines left, raise max_workers of gpu_ondemand "
                "in cluster.yaml, then run `ray up --no-restart cluster.yaml`"
            )

    def _failed_launches(self) -> Iterator[str]:
        """Say of each kind of machine why the autoscaler could not start it, once a reason."""
        try:
            status = get_cluster_status(ray.get_runtime_context().gcs_address)
        except Exception:  # the next look asks again; Ray does not say which errors there are
            return
        for launch in status.failed_launches:
            reason = " ".join((launch.details or "no reason was given").split())[:_SHOWN]
            if (launch.ray_node_type_name, reason) in self._told:
                continue
            self._told.add((launch.ray_node_type_name, reason))
            quota = any(word in reason for word in _QUOTA)
            advice = "; `bash deploy/aws.sh` prints the command that asks for more" if quota else ""
            kind = f"{launch.ray_node_type_name} ({launch.instance_type_name})"
            yield f"Ray could not start a machine {kind}: {reason}{advice}"

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles the callback for `Tuner.restore`, which we never call
