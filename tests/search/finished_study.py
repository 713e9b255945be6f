"""A small study that was really trained, without Ray: what its workers leave in its folder."""

from dataclasses import asdict
from pathlib import Path

from fer_core.config import (
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.trial import pack
from fer_core.trial.evaluate import cross_validate
from search.cluster.trial_record import Account
from search.request import data
from search.request.settings import resolve
from search.screen.progress import Progress
from search.study import folder as folders
from search.study.folder import Folder
from search.study.options import Options

CONFIG = Config(
    streams=(
        StreamConfig(
            backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
        ),
    ),
    clip=ClipConfig(frames=3),
    optimizer=OptimizerConfig(epochs=3),
)
GRU = Config(
    streams=(GeometryConfig(hidden=8),),
    clip=ClipConfig(frames=3),
    recurrent=RecurrentConfig(cell="gru", hidden=8),
    head=HeadConfig(fc_layers=1, fc_width=8, dropout=0.3),
    optimizer=OptimizerConfig(epochs=60, lr=0.02, batch_clips=8),
)


def ensure(root, rendered):
    """Give the study in a folder; train it if it is not there."""
    done = [file.parents[1] for file in root.glob("studies/*/parts/2.json")]
    return Folder(done[0]) if done else make(root, rendered)


def make(root, rendered):
    """Train a study of two finished trials and a pruned one, in a folder."""
    options = Options(
        space=str(Path(__file__).parents[2] / "spaces" / "smoke.py"),
        data_root=str(rendered),
        task="emotion",
        trials=1,
        store=str(root / "store"),
        leaderboards=str(root / "boards"),
        smoke=True,
    )
    settings = resolve(options, studies=str(root / "studies"))
    study_data = data.prepare(settings, Progress(verbosity=0), None)
    folder = folders.create(settings.studies, space=settings.space, dataset="synthetic")
    folder.write_record(record_of(folder, settings, study_data))
    results = list(cross_validate(CONFIG, study_data))
    Account(folder, 0, CONFIG.to_json()).at_rung(results, None, reached=None, last=True)
    at_rungs = [each for (each,) in pack.train([GRU], study_data, raced=True)]
    whole, left = (Account(folder, number, GRU.to_json()) for number in (1, 2))
    for place, at_rung in enumerate(at_rungs):
        last = place == len(at_rungs) - 1
        whole.at_rung(at_rung.results, None, reached="a rung", last=last)
    for at_rung in at_rungs[:2]:
        part = left.at_rung(at_rung.results, None, reached="1/2 of fold 1", last=False)
    folder.write_result(part)
    return folder


def record_of(folder, settings, study_data):
    return folders.Record(
        **asdict(settings.options) | {"landmarks": study_data.landmarks},
        study=folder.name,
        home=str(folder.path),
        protocol=study_data.protocol.to_json(),
        protocol_id=study_data.protocol.protocol_id,
        data_sha256=study_data.manifest.sha256,
        split_sha256=study_data.protocol.split_sha256,
        started_at="2026-01-15T10:00:00.000+00:00",
    )
