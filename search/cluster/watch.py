"""Looks at the nodes while Tune's loop runs, and says what becomes of them."""

import time
from typing import Any

from ray import tune

from search.cluster import nodes
from search.screen.cluster_state import ClusterState
from search.screen.progress import QUIET, Progress
from search.study.searcher import StudySearcher

LONG_SECONDS = 300.0  # that a pack waits; a machine of a cloud is there within minutes


class Watch(tune.Callback):
    """Gives the searcher its nodes, and tells the progress of them."""

    def __init__(self, searcher: StudySearcher, progress: Progress | None) -> None:
        self._searcher, self._progress = searcher, progress or Progress(verbosity=QUIET)
        self._nodes, searcher.print = nodes.Nodes(), self._progress.print
        searcher.nodes = self._nodes
        self._since: dict[str, float] = {}  # when each pack that waits was seen first
        self._joined = time.monotonic()  # when a node did last
        self._advised = False

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if sample := self._nodes.sample(self._searcher.busy):
            self._say(sample)

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        self._say(self._nodes.look(self._searcher.busy))  # what was lost since the last sample

    def _say(self, sample: ClusterState) -> None:
        now, pending = time.monotonic(), self._searcher.pending
        self._progress.on_nodes(sample, len(pending), self._searcher.preempted)
        if sample.lost or sample.left:
            self._searcher.on_loss()
        self._joined = now if sample.joined else self._joined
        self._since = {pack: self._since.get(pack, now) for pack in pending}
        waiting = now - max(self._joined, min(self._since.values(), default=now))
        if waiting > LONG_SECONDS and not self._advised and nodes.may_come():
            self._advised = True
            self._progress.print(
                f"packs have waited {waiting / 60:.0f} minutes, and no machine has come: where "
                "spot ones have run out, raise max_workers of gpu_ondemand in cluster.yaml, and "
                "`ray up --no-restart cluster.yaml`"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles it for `Tuner.restore`, which is never used
