"""A study's folder, and the spaces and parts that tests of the search are about."""

import fcntl
import textwrap

import pytest

from fer_core.config import Config, StreamConfig
from fer_core.intervals import MEASURES
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.study.folder import Folder, Record
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from tests.search import finished_study
from tests.search.running_study import drivers

CONFIG = Config(
    streams=(StreamConfig(backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3),)
)
METRICS = dict.fromkeys(MEASURES) | {"war": 0.6, "macro_f1": 0.6}
AT = "2026-01-15T10:00:00.000+00:00"
SPACE = """
    from fer_core.config import Config, OptimizerConfig, StreamConfig


    def space(trial):
        stream = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        return Config(streams=(stream,), optimizer=OptimizerConfig(lr=lr))
    """


@pytest.fixture
def start(tmp_path):
    """Start the command as a process of its own; see `running_study`."""
    with drivers(tmp_path / "studies") as start:
        yield start


@pytest.fixture(scope="session")
def finished(rendered, run_folder):
    """A study of two finished trials and a pruned one; tests copy it before they change it.

    The workers of one run share it, as they share `rendered`.
    """
    with (run_folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return finished_study.ensure(run_folder / "finished", rendered)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "studies" / "toy-synthetic-000000"
    path.mkdir(parents=True)
    return Folder(path)


@pytest.fixture
def journal(folder):
    return Journal(folder, file_storage(folder), Draws(seed=0))


@pytest.fixture
def write_space(tmp_path):
    def write(text):
        path = tmp_path / "spaces" / "toy.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


ENUMERATED = f"""
{textwrap.dedent(SPACE)}
POINTS = tuple({{"lr": lr}} for lr in (1e-2, 1e-3, 1e-4))
"""


@pytest.fixture
def enumerated(write_space):
    """A space of three points."""
    return spaces.load(write_space(ENUMERATED))


@pytest.fixture
def space(write_space):
    return spaces.load(write_space(SPACE))


@pytest.fixture
def make_result():
    def make(number, state="complete", uars=(0.5, 0.7), config=CONFIG, **values):
        ended = {"started_at": AT, "finished_at": AT, "val_metrics": METRICS}
        config_json = config.to_json() if config else None
        return TrialResult(
            number=number, state=state, fold_uars=uars, config_json=config_json, **ended | values
        )

    return make


@pytest.fixture
def record(tmp_path, folder):
    for place in ("data", "store", "boards"):
        (tmp_path / place).mkdir(exist_ok=True)
    return Record(
        study=folder.name,
        space="spaces/toy.py",
        dataset="synthetic",
        data_root=str(tmp_path / "data"),
        task="hidden",
        trials=3,
        seed=0,
        store=str(tmp_path / "store"),
        leaderboards=str(tmp_path / "boards"),
        weights={},
        landmarks="data",
        surface=None,
        surface_sha256=None,
        clip=None,
        max_missing=0.05,
        protocol_name="sealed",
        smoke=True,
        pruning=True,
        protocol={"name": "sealed20-cv5", "sealed": ["a"], "folds": [["b"], ["c"]], "train": []},
        protocol_id="sealed20-cv5-00000000",
        data_sha256="d",
        split_sha256="s",
        commit="unknown",
        versions={"python": "3.11"},
        arguments=[],
        started_at=AT,
    )
