"""Where packs run: on which nodes, on which share of a node, and what follows when one is lost."""

import errno
import io
import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import ray
import yaml
from ray.autoscaler.v2.schema import ClusterStatus, LaunchRequest
from ray.cluster_utils import Cluster
from rich.console import Console

from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.study_data import StudyData
from fer_core.scoring import Metrics
from fer_core.storage.stages import Work
from fer_core.trial.results import FoldResult
from search.cluster import nodes as watched
from search.cluster import tuner, watch
from search.cluster.nodes import Nodes, most_bundles
from search.drawing import space as spaces
from search.screen.progress import Progress
from search.study.searcher import StudySearcher

pytestmark = pytest.mark.ray

OTHER = "127.0.0.2"  # address of the second node

TWO_SHAPES = """
    from fer_core.config import Config, GeometryConfig, OptimizerConfig, StreamConfig


    def space(trial):
        kind = trial.suggest_categorical("kind", ["whole", "head"])
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
        streams = (stream,) if kind == "whole" else (GeometryConfig(),)
        return Config(streams=streams, optimizer=OptimizerConfig(lr=lr))
    """


@pytest.fixture
def two_nodes():
    """A head that runs trials, and a second node; each with one CPU."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = made.add_node(num_cpus=1, resources={"second": 1}, node_ip_address=OTHER)
    ray.init(address=made.address, log_to_driver=False)
    yield SimpleNamespace(cluster=made, second=second)
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def one_gpu():
    """A node that has a GPU, according to what Ray is told."""
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def run_study(journal, tmp_path):
    """Run a study whose trials do something, and return its searcher."""
    study_data = StudyData(
        manifest=Manifest(dataset="none", root=tmp_path, clips=()),
        protocol=Protocol(name="one", sealed=(), folds=(("a",),)),
        task="emotion",
        seed=0,
        store=tmp_path / "store",
        weights={},
        landmarks="data",
    )

    def run(space, does, trials, resources, progress=None):
        searcher = StudySearcher(
            journal,
            space,
            trials=trials,
            deadline=None,
            on_finish=lambda result: None,
            most_members=lambda config: 4,
            workers=resources.concurrent,
        )
        begin = trials_that(does)
        tuner.run(
            searcher,
            study_data,
            journal.folder,
            resources,
            raced=False,
            begin=begin,
            progress=progress,
        )
        return searcher

    return run


def trials_that(does):
    """Make the function that begins packs whose members do one thing with their config."""

    def begin(drawn, study_data, threads, raced):
        at_rungs = []
        for place, config in enumerate(drawn):
            error = does(config)
            results = () if error else (result(),)
            at_rungs.append(SimpleNamespace(member=place, results=results, error=error))
        yield at_rungs

    return begin


def result():
    return FoldResult(
        fold=0,
        metrics=Metrics(uar=0.5, war=0.5, macro_f1=0.5),
        clips=("a",),
        subjects=np.array(["s"]),
        labels=np.array([0]),
        probabilities=np.ones((1, 1)),
        frame_probabilities=np.ones((1, 1, 1)),
        losses=(1.0,),
        train_seconds=1.0,
        params=1,
        peak_memory_gib=0.0,
        device="none",
        weights_source="random",
        work=Work(),
        skipped={},
    )


def id_of(name):
    return next(n["NodeID"] for n in ray.nodes() if n["Alive"] and name in n["Resources"])


def states(journal):
    return [result.state for result in journal.finished()]


@pytest.mark.slow
def test_a_node_whose_workers_keep_dying_gets_no_more_packs(two_nodes, run_study, journal, space):
    bad, log = id_of("second"), journal.folder.path / "begun"

    def does(config):
        node = ray.get_runtime_context().get_node_id()
        with log.open("a") as file:
            file.write(f"{node}\n")
        if node == bad:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)

    searcher = run_study(space, does, 14, tuner.divide_cluster(1, None))

    started = log.read_text().split()
    assert states(journal) == ["complete"] * 14
    assert watched.FAILING <= started.count(bad) <= watched.FAILING + 1
    assert bad not in started[-8:]
    assert searcher.preempted == 0


@pytest.mark.slow
def test_a_node_whose_disk_is_full_gets_no_more_packs_and_is_named(
    two_nodes, run_study, journal, space
):
    full, log = id_of("second"), journal.folder.path / "begun"

    def does(config):
        node = ray.get_runtime_context().get_node_id()
        with log.open("a") as file:
            file.write(f"{node}\n")
        if node == full:
            return OSError(errno.ENOSPC, "No space left on device", "cache/x.npy")
        time.sleep(0.5)

    console = Console(file=io.StringIO(), width=300)
    run_study(space, does, 6, tuner.divide_cluster(1, None), Progress(console=console))

    assert states(journal) == ["complete"] * 6
    started = log.read_text().split()
    assert full in started[:2]  # both packs that began at first may have come there
    assert full not in started[2:]
    node = f"node {socket.gethostname()}"
    line = f"no more trials go to this node: {node}: the disk is full: cache/x.npy"
    assert console.file.getvalue().count(line) == 1


@pytest.mark.slow
def test_trials_of_a_node_that_is_lost_go_on_elsewhere_and_are_not_counted(
    two_nodes, run_study, journal, space
):
    lost, second = journal.folder.path / "lost", id_of("second")

    def does(config):
        if ray.get_runtime_context().get_node_id() == second:
            lost.touch()
            time.sleep(60)
        time.sleep(0.5)

    console = Console(file=io.StringIO(), width=200)
    progress = Progress(console=console)

    class Losing(Progress):
        def on_nodes(self, *values):
            if lost.exists() and two_nodes.second is not None:
                two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=False)
                two_nodes.second = None
            progress.on_nodes(*values)

    searcher = run_study(space, does, 6, tuner.divide_cluster(1, None), Losing())

    assert states(journal) == ["complete"] * 6
    assert searcher.preempted == 1
    retries = [trial.user_attrs.get("retry", 0) for trial in journal._study.trials]
    assert set(retries) == {0}
    printed = console.file.getvalue()
    assert f"node {OTHER} is lost (1 nodes, 0 of 0 GPUs in use" in printed
    assert "\n1 trial goes on elsewhere (1 nodes, 0 of 0 GPUs in use" in printed


@pytest.mark.slow
def test_a_pack_that_waits_for_another_node_than_its_own_returns_when_that_other_is_lost(
    two_nodes, run_study, journal, space
):
    died, busy, second = journal.folder.path / "died", journal.folder.path / "busy", id_of("second")

    def does(config):
        if ray.get_runtime_context().get_node_id() == second:
            busy.touch()
            time.sleep(60)
        elif not died.exists():
            died.touch()
            os._exit(1)

    class Losing(Progress):
        lost_at = None

        def on_nodes(self, sample, pending, preempted):
            if self.lost_at is None and died.exists() and busy.exists() and pending:
                two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=False)
                self.lost_at = time.monotonic()
            assert self.lost_at is None or time.monotonic() < self.lost_at + 60

    searcher = run_study(space, does, 2, tuner.divide_cluster(1, None), Losing())

    assert states(journal) == ["complete"] * 2
    assert searcher.preempted == 1
    retries = [trial.user_attrs.get("retry", 0) for trial in journal._study.trials]
    assert max(retries) == 1  # for its own death; waiting in vain does not count


@pytest.mark.slow
def test_packs_of_both_shapes_end_where_one_gpu_holds_one_or_four_of_them(
    one_gpu, run_study, journal, write_space
):
    space, log = spaces.load(write_space(TWO_SHAPES)), journal.folder.path / "asked"

    def does(config):
        with log.open("a") as file:
            file.write(f"{ray.get_runtime_context().get_assigned_resources()['GPU']}\n")

    run_study(space, does, 16, resources := tuner.divide_cluster(1, None))

    assert (resources.gpus, resources.head_gpus) == (1.0, tuner.HEAD_GPUS)
    assert resources.concurrent == 2
    assert states(journal) == ["complete"] * 16
    assert set(log.read_text().split()) == {"1.0", str(tuner.HEAD_GPUS)}


@pytest.mark.slow
def test_workers_that_die_between_two_packs_keep_no_share_from_the_other_shape(
    one_gpu, run_study, journal, write_space
):
    space, began = spaces.load(write_space(TWO_SHAPES)), journal.folder.path / "began"
    began.mkdir()

    def does(config):
        mark = began / f"{config.optimizer.lr}"
        if (
            not mark.exists()
        ):  # once for each, after its result was returned, while the worker waits
            mark.touch()
            threading.Timer(0.1, os._exit, [1]).start()

    run_study(space, does, 16, tuner.divide_cluster(1, None))

    assert states(journal) == ["complete"] * 16


@pytest.mark.slow
def test_a_trial_that_runs_out_of_memory_is_tried_once_more_alone_on_a_whole_gpu(
    one_gpu, run_study, journal, write_space
):
    space = spaces.load(write_space(TWO_SHAPES.replace('["whole", "head"]', '["head"]')))

    def does(config):
        torch = pytest.importorskip("torch")
        if config.optimizer.lr > 3e-3:  # too large for any share
            return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        if ray.get_runtime_context().get_assigned_resources()["GPU"] < 1 and (
            config.optimizer.lr > 5e-4
        ):
            return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    run_study(space, does, 10, tuner.divide_cluster(1, 0.5))

    lrs = [trial.params["lr"] for trial in journal._study.trials if "lr" in trial.params]
    failed = [result for result in journal.finished() if result.state == "failed"]
    assert sum(lr > 5e-4 for lr in set(lrs)) > len(failed) > 0
    assert len(journal.finished()) == 10
    for result in failed:
        assert "out of memory, twice, the second time alone on 1 CPUs and 1 GPUs" in result.error
        assert "batch_clips" in result.error
        assert "--gpus-per-head" in result.error
    assert [lrs.count(lr) for lr in set(lrs) if lr > 5e-4] == [2] * sum(
        lr > 5e-4 for lr in set(lrs)
    )


@pytest.fixture
def write_cluster(tmp_path, monkeypatch):
    """Let this machine head a cluster that may start some workers of each type."""

    def write(most, **types):
        gpu = {"resources": {"CPU": 4, "GPU": 1}}
        kinds = {name: gpu | {"max_workers": workers} for name, workers in types.items()}
        described = {
            "head_node_type": "head",
            "max_workers": most,
            "available_node_types": {"head": {"resources": {"CPU": 0}}} | kinds,
        }
        (file := tmp_path / "cluster.yaml").write_text(yaml.safe_dump(described))
        monkeypatch.setattr(watched, "BOOTSTRAP", file)

    return write


def watching_a_waiting_pack(journal, space, console):
    """Watch a study whose first pack waits for a machine."""
    searcher = StudySearcher(
        journal,
        space,
        trials=2,
        deadline=None,
        on_finish=lambda result: None,
        most_members=lambda config: 1,
    )
    watching = watch.Watch(searcher, Progress(console=console))
    searcher.suggest("1")
    return watching


@pytest.mark.slow
def test_a_long_wait_for_a_machine_is_printed_once_if_one_may_still_join(
    one_gpu, write_cluster, journal, space, monkeypatch
):
    monkeypatch.setattr(watch, "LONG_SECONDS", 0.2)
    console = Console(file=io.StringIO(), width=300)
    watching = watching_a_waiting_pack(journal, space, console)

    for workers, lines in ((0, 0), (1, 1), (1, 1)):
        write_cluster(8, spot=workers)
        for _ in range(3):
            watching.on_experiment_end([])
            time.sleep(0.15)

        assert console.file.getvalue().count("raise max_workers of gpu_ondemand") == lines


@pytest.mark.slow
def test_why_the_autoscaler_could_not_start_a_machine_is_printed_once(
    one_gpu, write_cluster, journal, space, monkeypatch
):
    refused = LaunchRequest(
        instance_type_name="g5.xlarge",
        ray_node_type_name="gpu_spot",
        count=1,
        state=LaunchRequest.Status.FAILED,
        request_ts_s=0,
        details="ClientError: (MaxSpotInstanceCountExceeded)\n Max spot instance count exceeded",
    )
    monkeypatch.setattr(
        watch, "get_cluster_status", lambda address: ClusterStatus(failed_launches=[refused])
    )
    monkeypatch.setattr(watch, "_LAUNCH_SECONDS", 0.0)
    console = Console(file=io.StringIO(), width=300)
    watching = watching_a_waiting_pack(journal, space, console)
    write_cluster(8, spot=1)

    for _ in range(3):
        watching.on_experiment_end([])

    printed = console.file.getvalue()
    assert printed.count("Ray could not start a machine gpu_spot (g5.xlarge): ClientError") == 1
    assert "Max spot instance count exceeded; `bash deploy/aws.sh` prints the command" in printed


@pytest.mark.slow
def test_the_autoscaler_of_a_real_cluster_can_be_asked(one_gpu):
    status = watch.get_cluster_status(ray.get_runtime_context().gcs_address)

    assert list(status.failed_launches) == []


@pytest.mark.slow
def test_nodes_that_may_join_count_and_one_must_hold_a_trial(one_gpu, write_cluster):
    write_cluster(9, spot=8, demand=2)

    assert most_bundles({"CPU": 1, "GPU": 0.25}, growing=True) == 9 * 4
    assert most_bundles({"CPU": 4, "GPU": 1}, growing=True) == 9
    assert most_bundles({"CPU": 8, "GPU": 1}, growing=True) == 0
    assert most_bundles({"CPU": 1, "GPU": 0.25}, growing=False) == 2


@pytest.mark.slow
def test_a_worker_that_dies_again_of_the_same_trial_tells_nothing_of_its_node(two_nodes):
    seen, second = Nodes(), id_of("second")

    for _ in range(watched.FAILING):
        seen.note_death(second, ["a"])
    assert seen.to_avoid(["b"]) == []
    assert seen.to_avoid(["a"]) == [second]

    for other in ("c", "d"):
        seen.note_death(second, [other])
    assert seen.to_avoid(["b"]) == [second]


@pytest.mark.slow
def test_never_are_all_nodes_avoided(two_nodes):
    seen = Nodes()

    for node in ray.nodes():
        for ran in "abc":
            seen.note_death(node["NodeID"], [ran])

    assert seen.to_avoid(["z"]) == []


@pytest.mark.slow
def test_a_node_that_goes_while_no_pack_runs_there_has_left_and_is_not_lost(two_nodes):
    seen, second = Nodes(), id_of("second")

    two_nodes.cluster.remove_node(two_nodes.second, allow_graceful=True)
    sample = until_it_changes(seen, set())

    assert (sample.lost, sample.left) == ((), (OTHER,))
    assert seen.is_lost(second)
    assert seen.is_lost(None)  # a pack whose node is unknown may have been there


def until_it_changes(seen, busy):
    deadline = time.monotonic() + 60
    while not ((sample := seen.look(busy)).lost or sample.left):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return sample


@pytest.mark.slow
def test_an_address_that_comes_and_goes_idle_is_not_avoided_and_one_that_is_lost_is(
    two_nodes, monkeypatch
):
    monkeypatch.setattr(watched, "FAILING", 1)
    seen, made = Nodes(), two_nodes.cluster

    for busy in (False, True):
        second = id_of("second")
        made.remove_node(two_nodes.second, allow_graceful=True)
        until_it_changes(seen, {second} if busy else set())
        two_nodes.second = made.add_node(num_cpus=1, resources={"second": 1}, node_ip_address=OTHER)
        made.wait_for_nodes()
        seen.look()

        assert seen.to_avoid(()) == ([id_of("second")] if busy else [])


@pytest.mark.slow
def test_whether_any_of_several_nodes_is_lost_is_asked_of_all_at_once(two_nodes):
    seen, began = Nodes(), time.monotonic()
    assert not seen.is_lost(id_of("second"))
    one = time.monotonic() - began

    assert not seen.is_lost(None)

    assert time.monotonic() - began - one < 1.5 * one  # it takes as long as asking one


@pytest.mark.slow
def test_an_error_outside_the_trials_is_quoted_where_its_trial_fails_in_the_end(
    one_gpu, run_study, journal, space
):
    def broken(config):
        raise RuntimeError("CUDA error: device-side assert triggered")

    run_study(space, broken, 1, tuner.divide_cluster(2, 0))

    (failed,) = journal.finished()
    assert failed.state == "failed"
    assert "interrupted 4 times; the last time its worker raised" in failed.error
    assert "CUDA error: device-side assert triggered" in failed.error
