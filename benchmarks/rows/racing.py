"""Row 10: studies that stop the worse trials and race folds, against studies that do not.

Each is run whole in this process, without Ray: the study's own searcher, journal and packs, one
worker, one thread. Features are those of a frozen VGG-16 with random weights at 64 px of rendered
faces, which tell emotions apart to about a half; five folds.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks.rows import cached, stills
from benchmarks.rows.plain import write_features
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import cpu_seconds, one_thread
from fer_core import packs, protocol, race
from fer_core.config import Config, from_json
from fer_core.experiment import Experiment
from search import space as spaces
from search.cluster.worker import PackRun
from search.study import folder as folders
from search.study.folder import Folder
from search.study.journal import Journal, file_storage
from search.study.parts import Part
from search.study.searcher import StudySearcher

TARGET, POINT = 3.0, 0.01
SEEDS, TRIALS, IMAGES, EPOCHS = 10, 48, 240, 20


def row(
    *, seeds: int = SEEDS, trials: int = TRIALS, images: int = IMAGES, epochs: int = EPOCHS
) -> list[Ratio]:
    """Compare the training's CPU seconds and the best score of each kind, over seeds."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        experiment = _experiment(root, images)
        write_features(Config(streams=(cached.STREAM,)), experiment, root / "features.npz")
        space = root / "space.py"
        space.write_text(cached.SPACE.format(epochs=epochs))
        _study(space, experiment, root, seed=seeds, trials=4, raced=False)  # reads the store
        pairs = [
            [
                _study(space, experiment, root, seed=seed, trials=trials, raced=raced)
                for raced in (False, True)
            ]
            for seed in range(seeds)
        ]
    whole, raced = (
        sum(study.seconds for study in column) / seeds for column in zip(*pairs, strict=True)
    )
    lost = [full.best - less.best for full, less in pairs]
    kept = "kept" if fmean(lost) <= POINT else "NOT kept"
    pruned = fmean(less.pruned for _, less in pairs)
    return [
        Ratio(
            name="pruning and racing",
            value=whole / raced,
            target=TARGET,
            came_from=f"all folds of all trials {whole:.1f} s, raced {raced:.1f} s of CPU a study "
            f"of {trials} trials, mean of {seeds} seeds",
            notes=(
                f"best score lost by racing: mean {100 * fmean(lost):.2f} points of UAR, worst "
                f"{100 * max(lost):.2f}, of {fmean(full.best for full, _ in pairs):.3f}; the mean "
                f"within {100 * POINT:g} {kept}",
                f"{pruned:.0f} of {trials} trials are stopped; training and scoring are counted",
            ),
        )
    ]


@dataclass(frozen=True, kw_only=True)
class _Study:
    """What a study came to."""

    seconds: float  # CPU, of its packs
    best: float  # UAR, of trials that have all folds
    pruned: int


def _experiment(root: Path, images: int) -> Experiment:
    """Give photographs in five folds of subjects, none sealed."""
    experiment = stills.experiment(images, root / "store")
    stills.faces(experiment)
    folds = protocol.in_turn(experiment.manifest, folds=protocol.FOLDS)
    return replace(experiment, protocol=folds)


def _study(
    file: Path, experiment: Experiment, root: Path, *, seed: int, trials: int, raced: bool
) -> _Study:
    """Run a study to its end."""
    folder = folders.create(root / "studies", space=file, dataset="stills")
    experiment = replace(experiment, seed=seed)
    rungs = packs.rungs(len(experiment.protocol.folds), raced=raced)
    journal = Journal(folder, file_storage(folder), seed=seed, rungs=rungs if raced else ())
    ended: list[Part] = []
    searcher = StudySearcher(
        journal,
        spaces.load(file),
        trials=trials,
        deadline=None,
        on_finish=ended.append,
        most_members=partial(packs.most_members, experiment=experiment),
    )
    seconds = 0.0
    while isinstance(pack := searcher.suggest("pack"), dict):
        members = {each["number"]: each["config_json"] for each in pack["members"]}
        seconds += sum(_steps(searcher, folder, members, experiment, raced=raced))
    if searcher.error is not None:
        raise searcher.error
    failed = [part.error for part in ended if part.state == "failed"]
    assert len(ended) == trials, f"{len(ended)} of {trials} trials have ended"
    assert not failed, failed[0]
    scores = [part.val_uar for part in ended if part.state == "complete"]
    return _Study(
        seconds=seconds,
        best=max(score for score in scores if score is not None),
        pruned=trials - len(scores),
    )


def _steps(
    searcher: StudySearcher,
    folder: Folder,
    members: dict[int, str],
    experiment: Experiment,
    *,
    raced: bool,
) -> Iterator[float]:
    """Run a pack as worker and scheduler do, and give the CPU seconds of each rung."""
    configs = [from_json(text) for text in members.values()]
    rungs = packs.rungs(len(experiment.protocol.folds), raced=raced)
    run = PackRun(folder, members, race.run(configs, experiment, raced=raced), rungs)
    leaving: list[int] = []
    while True:
        reached: list[tuple[list[Part], bool]] = []
        leaves = tuple(leaving)
        yield cpu_seconds(lambda leaves=leaves, to=reached: to.append(run.next_rung(leaves)))
        found, done = reached[0]
        out = None if done else searcher.on_rung("pack", found)
        if out is None:
            break
        leaving = out
    run.close()
    searcher.on_trial_complete("pack", {"holds": []})
