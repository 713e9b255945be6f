"""Divide a cluster among trials, and let Ray Tune run a study's packs on its workers.

`search/session/` calls `divide_cluster` to learn what each trial gets, and `run` to run the
study. What Tune calls a trial is one of our packs. Tune's own experiment is thrown away at the end,
because the journal keeps all that matters.
"""

from search.cluster import ray_settings  # noqa: F401  # isort: skip  # before Ray is imported

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from fer_core.data.study_data import StudyData
from fer_core.errors import ClusterError
from fer_core.storage import signals
from search.cluster import nodes
from search.cluster.watch import Watch
from search.cluster.worker import PackWorker, train_pack
from search.screen.progress import Progress
from search.study.folder import Folder
from search.study.pruning import PruningScheduler
from search.study.searcher import StudySearcher

if TYPE_CHECKING:
    from search.cluster.worker import Begin

HEAD_GPUS = 0.25  # share of a GPU for a head by default; `--dry-run` measures what heads need
_MOST_PACKS = 1024  # Tune's limit where nodes may join; the searcher starts only what fits


@dataclass(frozen=True, kw_only=True)
class TrialResources:
    """What each trial gets of a machine, and how many trials run at once."""

    cpus: float
    gpus: float  # for a whole trial; Ray only counts GPUs, it does not divide their memory
    concurrent: int
    head_gpus: float = 0.0  # for a head, which trains on stored features
    growing: bool = False  # whether more nodes may join than there were when it was divided

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))

    def gpus_of(self, shape: str) -> float:
        """Return the GPUs for a pack of a shape.

        After a trial ran out of memory, the "larger" shape gets a whole GPU, if a node has one. In
        a study that uses no GPU it gets none either.
        """
        if shape == "larger" and 0 < self.gpus < 1 and self._most(1.0):
            return 1.0
        return self.head_gpus if shape == "head" else self.gpus

    def most_packs(self, shape: str) -> int:
        """Return how many packs of a shape the cluster can hold now, or once it has grown."""
        return self._most(self.gpus_of(shape))

    def _most(self, gpus: float) -> int:
        return nodes.most_bundles({"CPU": self.cpus, "GPU": gpus}, growing=self.growing)

    def request(self, pack: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Describe for Ray what a pack needs, and the nodes that it must not run on."""
        avoid, labels = ",".join(pack["avoid"]), dict[str, Any]()
        if avoid:
            labels["bundle_label_selector"] = [{"ray.io/node-id": f"!in({avoid})"}]
        bundle = {"CPU": self.cpus, "GPU": self.gpus_of(pack["shape"])}
        return tune.PlacementGroupFactory([bundle], **labels)


def divide_cluster(
    cpus: float, gpus: float | None, head_gpus: float | None = None, *, growing: bool = False
) -> TrialResources:
    """Divide the cluster among trials; by default a whole trial gets one GPU if there are any.

    `growing`: also count nodes that may join later, by the cluster's file on this machine.

    Raises: ClusterError where the cluster cannot hold one trial.
    """
    most = partial(nodes.most_bundles, growing=growing)
    whole = (1.0 if most({"GPU": 1e-3}) else 0.0) if gpus is None else gpus
    head = min(whole, HEAD_GPUS if head_gpus is None else head_gpus)
    if not most({"CPU": cpus, "GPU": whole}):
        total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        raise ClusterError(
            f"a trial needs {cpus:g} CPUs and {whole:g} GPUs, and no node has both; the cluster "
            f"has {total.get('CPU', 0.0):g} CPUs and {total.get('GPU', 0.0):g} GPUs: give a "
            "smaller --cpus-per-trial or --gpus-per-trial."
        )
    concurrent = most({"CPU": cpus, "GPU": head})
    return TrialResources(
        cpus=cpus, gpus=whole, head_gpus=head, concurrent=concurrent, growing=growing
    )


def run(
    searcher: StudySearcher,
    study_data: StudyData,
    folder: Folder,
    resources: TrialResources,
    *,
    raced: bool,
    begin: "Begin" = train_pack,
    progress: Progress | None = None,
) -> None:
    """Run packs until the searcher has no more.

    `raced`: whether trials are compared at rungs, so that the worse ones stop early. `begin` starts
    the training of a pack on its worker.

    Raises: KeyboardInterrupt at the first signal to end, between two events of Tune, and the
        searcher's error where it has one.
    """
    worker = tune.with_parameters(
        PackWorker,
        study_data=study_data,
        folder=folder,
        threads=resources.threads,
        raced=raced,
        begin=begin,
    )
    searcher.most_packs = resources.most_packs if resources.growing else None
    # Tune insists on a folder for files that nobody reads.
    with _signals_noted() as stop, tempfile.TemporaryDirectory(prefix="tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(worker, resources.request),
            tune_config=_tune_config(searcher, folder, resources),
            run_config=_run_config(scratch, stop, Watch(searcher, progress)),
        )
        _fit(tuner, stop)
    if searcher.error is not None:
        raise searcher.error


def _fit(tuner: tune.Tuner, stop: "_Stop") -> None:
    """Run Tune to its end.

    Raises: KeyboardInterrupt if that was requested, even if Tune ended or failed before it looked:
        the signal may have gone to the machines of a cluster as well.
    """
    try:
        tuner.fit()
    except Exception as error:
        if stop.requested:
            raise KeyboardInterrupt from error
        raise
    if stop.requested:
        raise KeyboardInterrupt


def _tune_config(
    searcher: StudySearcher, folder: Folder, resources: TrialResources
) -> tune.TuneConfig:
    return tune.TuneConfig(
        search_alg=searcher,
        scheduler=PruningScheduler(searcher, folder),
        num_samples=-1,  # the searcher decides when the study has enough trials
        max_concurrent_trials=_MOST_PACKS if resources.growing else resources.concurrent,
        reuse_actors=True,
        trial_dirname_creator=_trial_name,
    )


def _run_config(scratch: str, stop: "_Stop", watch: Watch) -> tune.RunConfig:
    return tune.RunConfig(
        name="tune",
        storage_path=scratch,
        stop=stop,
        callbacks=[watch],
        verbose=0,
        # By default Tune saves each worker at the end, and gives it up if it cannot.
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )


class _Stop(tune.Stopper):
    """Ends Tune's loop between two events, when no file is half-written."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self.requested:
            raise KeyboardInterrupt
        return False


@contextmanager
def _signals_noted() -> Iterator[_Stop]:
    """Note the first signal to end; the second one interrupts the driver at once."""
    stop = _Stop()

    def note(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = signals.handle(note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _trial_name(trial: Any) -> str:
    return str(trial.trial_id)
