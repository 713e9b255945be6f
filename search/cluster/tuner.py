"""Connect to Ray, and let Tune run a study's trials on its workers."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

# Tune must not write files for each trial, nor catch Ctrl-C (we do), nor snapshot what is
# disposable; Ray must not send usage reports. All of it is read when Ray is imported or begins.
for _name, _value in {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Else Tune itself repeats, from the start, what was on a node that Ray knew would be taken.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  # after its settings
from ray import tune  # noqa: E402

from fer_core.data.study_data import StudyData  # noqa: E402
from fer_core.errors import ClusterError, FerError  # noqa: E402
from search.cluster import nodes, runtime_env  # noqa: E402
from search.cluster.watch import Watch  # noqa: E402
from search.cluster.worker import PackWorker, train_pack  # noqa: E402
from search.screen.progress import Progress  # noqa: E402
from search.study.folder import Folder  # noqa: E402
from search.study.pruning import PruningScheduler  # noqa: E402
from search.study.searcher import StudySearcher  # noqa: E402

if TYPE_CHECKING:
    from search.cluster.worker import Begin

HEAD_GPUS = 0.25  # of a GPU, unless the user says: `--dry-run` measures what heads take
_HEALTH_SECONDS = 20.0
_MOST_PACKS = 1024  # at once; the searcher keeps to what there is room for
_PORT = 6379  # Ray's default


@dataclass(frozen=True, kw_only=True)
class TrialResources:
    """What each trial is given, and how many run at once."""

    cpus: float
    gpus: float  # of a whole trial; logical: Ray counts them and does not divide their memory
    concurrent: int
    head_gpus: float = 0.0  # of one that trains on what is stored
    growing: bool = False  # whether more nodes may come than there were when it was divided

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))

    def gpus_of(self, shape: str) -> float:
        """Say what a pack of a shape is given: after memory was short a whole GPU, if there is one.

        A study that uses no GPU gets none then either.
        """
        if shape == "larger" and 0 < self.gpus < 1 and self._most(1.0):
            return 1.0
        return self.head_gpus if shape == "head" else self.gpus

    def room(self, shape: str) -> int:
        """Say how many packs of a shape the cluster holds by now, or may come to hold."""
        return self._most(self.gpus_of(shape))

    def _most(self, gpus: float) -> int:
        return nodes.most({"CPU": self.cpus, "GPU": gpus}, growing=self.growing)

    def request(self, pack: dict[str, Any]) -> tune.PlacementGroupFactory:
        """Ask for what a pack takes, on a node that is not to be avoided."""
        avoid, labels = ",".join(pack["avoid"]), dict[str, Any]()
        if avoid:
            labels["bundle_label_selector"] = [{"ray.io/node-id": f"!in({avoid})"}]
        bundle = {"CPU": self.cpus, "GPU": self.gpus_of(pack["shape"])}
        return tune.PlacementGroupFactory([bundle], **labels)


@contextmanager
def connected(at: str) -> Iterator[str]:
    """Connect to what `resolved` gave, and say what it is; who connected leaves it at the end.

    Raises: ClusterError where the cluster refuses.
    """
    said = "a Ray of its own on this machine" if at == "local" else f"the cluster at {at}"
    if ray.is_initialized():
        yield said
        return
    with redirect_stdout(sys.stderr):  # Ray prints to stdout, which is for data
        _init(at)
        try:
            yield said
        finally:
            ray.shutdown()


def share(
    cpus: float, gpus: float | None, head_gpus: float | None = None, *, growing: bool = False
) -> TrialResources:
    """Divide the cluster among trials; by default a whole one takes one GPU where there are any.

    `growing`: nodes that may come count, by the file of the cluster that this machine heads.
    Raises: ClusterError where the cluster cannot hold one trial.
    """
    most = partial(nodes.most, growing=growing)
    whole = (1.0 if most({"GPU": 1e-3}) else 0.0) if gpus is None else gpus
    head = min(whole, HEAD_GPUS if head_gpus is None else head_gpus)
    if not most({"CPU": cpus, "GPU": whole}):
        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
        raise ClusterError(
            f"a trial wants {cpus:g} CPUs and {whole:g} GPUs; the cluster has "
            f"{there.get('CPU', 0.0):g} and {there.get('GPU', 0.0):g}, and no node that holds both."
        )
    concurrent = most({"CPU": cpus, "GPU": head})
    return TrialResources(
        cpus=cpus, gpus=whole, head_gpus=head, concurrent=concurrent, growing=growing
    )


def run(
    searcher: StudySearcher,
    study_data: StudyData,
    folder: Folder,
    each: TrialResources,
    *,
    raced: bool,
    begin: "Begin" = train_pack,
    progress: Progress | None = None,
) -> None:
    """Run packs until the searcher has no more; `raced` ones are compared at rungs.

    Raises: KeyboardInterrupt at the first SIGINT or SIGTERM, between two events of Tune.
    """
    worker = tune.with_parameters(
        PackWorker,
        study_data=study_data,
        folder=folder,
        threads=each.threads,
        raced=raced,
        begin=begin,
    )
    searcher.room = each.room if each.growing else None
    # Tune keeps there what nobody reads.
    with _signals_noted() as stop, tempfile.TemporaryDirectory(prefix="tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(worker, each.request),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=PruningScheduler(searcher, folder),
                num_samples=-1,  # the searcher knows when it is done
                max_concurrent_trials=_MOST_PACKS if each.growing else each.concurrent,
                reuse_actors=True,
                trial_dirname_creator=_trial_name,
            ),
            run_config=_run_config(scratch, stop, Watch(searcher, progress)),
        )
        tuner.fit()
    if searcher.error is not None:
        raise searcher.error


def _run_config(scratch: str, stop: "_Stop", watch: Watch) -> tune.RunConfig:
    return tune.RunConfig(
        name="tune",
        storage_path=scratch,
        stop=stop,
        callbacks=[watch],
        verbose=0,
        # By default Tune saves each worker at the end, and loses it where it cannot.
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )


class _Stop(tune.Stopper):
    """Ends Tune's loop at a moment when no file is half-written."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if self.asked:
            raise KeyboardInterrupt
        return False


def _init(at: str) -> None:
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is in parts, failures
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=at,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            include_dashboard=False if at == "local" else None,
            runtime_env=None if at == "local" else runtime_env.environment(),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"the Ray cluster at {at} cannot be used: {reason}") from error
    signal.signal(signal.SIGTERM, on_term)  # Ray's own would end the driver at once


@contextmanager
def _signals_noted() -> Iterator[_Stop]:
    """Note the first SIGINT or SIGTERM; a second one interrupts wherever the driver is."""
    stop = _Stop()
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    for name in before:
        signal.signal(name, note)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def resolved(address: str) -> str:
    """Say where to connect: "local", or the address of a cluster that answers.

    Raises: ClusterError where `address` names a cluster that does not.
    """
    if address == "local":
        return "local"
    if address != "auto":
        return _answering(address)
    if named := os.environ.get("RAY_ADDRESS"):
        return "local" if named == "local" else _answering(named)
    # Ray's own "auto" also finds other users' local instances on this machine, and waits long for
    # a cluster that has gone, so we read the file that `ray start` leaves ourselves.
    started = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray/ray_current_cluster"
    try:
        return _answering(started.read_text().strip())
    except (OSError, FerError):
        return "local"


def _answering(address: str) -> str:
    """Give an address with its port, if a Ray cluster answers there within seconds."""
    host, _, port = address.rpartition(":")
    at = address if host else f"{address}:{_PORT}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", at]
    try:
        socket.create_connection((host or address, int(port if host else _PORT)), 5).close()
        # Whatever else may listen there, `ray.init` would wait for it for minutes.
        done = subprocess.run(command, timeout=_HEALTH_SECONDS, capture_output=True, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        silent = isinstance(error, subprocess.TimeoutExpired)
        reason = "what listens there is no Ray" if silent else str(error)
        raise ClusterError(_unreachable(address, reason)) from error
    if done.returncode:
        raise ClusterError(_unreachable(address, done.stderr.strip().splitlines()[-1][:300]))
    return at


def _unreachable(address: str, reason: str) -> str:
    start = "start one with `ray start --head`, or use --address local"
    return f"no Ray cluster answers at {address}: {reason}; {start}."


def _trial_name(trial: Any) -> str:
    return str(trial.trial_id)
