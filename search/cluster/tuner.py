"""Connect to Ray, and let Tune run a study's trials on its workers."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

# Tune must not write files for each trial, nor catch Ctrl-C (we do), nor snapshot what is
# disposable; Ray must not send usage reports. All of it is read when Ray is imported or begins.
for _name, _value in {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  # after its settings
from ray import tune  # noqa: E402

from fer_core.errors import ClusterError, FerError  # noqa: E402
from fer_core.experiment import Experiment  # noqa: E402
from search.cluster.worker import PackWorker  # noqa: E402
from search.study.folder import Folder  # noqa: E402
from search.study.pruning import PruningScheduler  # noqa: E402
from search.study.searcher import StudySearcher  # noqa: E402

_HEALTH_SECONDS = 20.0
_PORT = 6379  # Ray's default


@dataclass(frozen=True, kw_only=True)
class Share:
    """What each trial is given, and how many run at once."""

    cpus: float
    gpus: float  # logical: Ray counts them and does not divide their memory
    concurrent: int

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))


@contextmanager
def connected(at: str) -> Iterator[str]:
    """Connect to what `resolved` gave, and say what it is; leave it at the end.

    Raises: ClusterError where the cluster refuses.
    """
    with redirect_stdout(sys.stderr):  # Ray prints to stdout, which is for data
        _init(at)
        try:
            yield "a Ray of its own on this machine" if at == "local" else f"the cluster at {at}"
        finally:
            ray.shutdown()


def share(cpus: float, gpus: float | None) -> Share:
    """Divide the cluster among trials; by default each takes one GPU where there are any.

    Raises: ClusterError where the cluster cannot hold one trial.
    """
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    has_cpus, has_gpus = there.get("CPU", 0.0), there.get("GPU", 0.0)
    wanted_gpus = (1.0 if has_gpus else 0.0) if gpus is None else gpus
    fits = [int(has // each) for has, each in ((has_cpus, cpus), (has_gpus, wanted_gpus)) if each]
    concurrent = min(fits, default=1)
    if concurrent < 1:
        raise ClusterError(
            f"a trial wants {cpus:g} CPUs and {wanted_gpus:g} GPUs; the cluster has "
            f"{has_cpus:g} and {has_gpus:g}."
        )
    return Share(cpus=cpus, gpus=wanted_gpus, concurrent=concurrent)


def run(
    searcher: StudySearcher,
    experiment: Experiment,
    folder: Folder,
    each: Share,
    *,
    raced: bool,
) -> None:
    """Run packs until the searcher has no more; `raced` ones are compared at rungs.

    Raises: KeyboardInterrupt at the first SIGINT or SIGTERM, between two events of Tune.
    """
    worker = tune.with_parameters(
        PackWorker, experiment=experiment, folder=folder, threads=each.threads, raced=raced
    )
    shutil.rmtree(folder.ray, ignore_errors=True)
    with _signals_noted() as stop:
        tuner = tune.Tuner(
            tune.with_resources(worker, {"CPU": each.cpus, "GPU": each.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=PruningScheduler(searcher, folder),
                num_samples=-1,  # the searcher knows when it is done
                max_concurrent_trials=each.concurrent,
                reuse_actors=True,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.ray),
                stop=stop,
                verbose=0,
                # By default Tune saves each worker at the end, and loses it where it cannot.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()
    shutil.rmtree(folder.ray, ignore_errors=True)
    if searcher.error is not None:
        raise searcher.error


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
