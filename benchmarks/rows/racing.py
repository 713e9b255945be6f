"""Row 10: studies that stop the worse trials and race folds, against studies that do not.

Each study runs whole in this process, without Ray, with the real searcher, journal and packs, as
one worker of one thread. There are five folds. The features are those of a frozen VGG-16 with
random weights on rendered faces of 64 px; by them about half of the emotions are told apart.
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
from fer_core.config import Config, from_json
from fer_core.data import protocol
from fer_core.data.study_data import StudyData
from fer_core.trial import pack as pack_
from fer_core.trial import packing
from fer_core.trial.rungs import rungs as rungs_of
from search.cluster.worker import ActivePack
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.drawing.suited import suited
from search.study import folder as folders
from search.study.folder import Folder
from search.study.journal import Journal
from search.study.journal_backends import file_storage
from search.study.parts import TrialResult
from search.study.searcher import StudySearcher

TARGET, POINT = 3.0, 0.01
SEEDS, TRIALS, IMAGES, EPOCHS = 10, 48, 240, 20


def row(
    *, seeds: int = SEEDS, trials: int = TRIALS, images: int = IMAGES, epochs: int = EPOCHS
) -> list[Ratio]:
    """Compare the CPU seconds of training, and the best score, of both kinds over several seeds."""
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = _study_data(root, images)
        write_features(Config(streams=(cached.STREAM,)), study_data, root / "features.npz")
        space = root / "space.py"
        space.write_text(cached.SPACE.format(epochs=epochs))
        study(space, study_data, root, seed=seeds, trials=4, raced=False)  # warms up
        pairs = [
            [
                study(space, study_data, root, seed=seed, trials=trials, raced=raced)
                for raced in (False, True)
            ]
            for seed in range(seeds)
        ]
    whole, raced = (
        sum(each.seconds for each in column) / seeds for column in zip(*pairs, strict=True)
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
class Study:
    """How a study ended."""

    seconds: float  # CPU seconds of its packs
    best: float  # the best val_uar of trials that trained all folds
    pruned: int


def _study_data(root: Path, images: int) -> StudyData:
    """Make rendered photographs, with five folds of subjects and none sealed."""
    study_data = stills.study_data(images, root / "store")
    stills.faces(study_data)
    folds = protocol.in_turn(study_data.manifest, folds=protocol.FOLDS)
    return replace(study_data, protocol=folds)


def study(
    file: Path, study_data: StudyData, root: Path, *, seed: int, trials: int, raced: bool
) -> Study:
    """Run a study to its end; what its space names first is tried first."""
    folder = folders.create(root / "studies", space=file, dataset="stills")
    study_data = replace(study_data, seed=seed)
    rungs = rungs_of(len(study_data.protocol.folds), raced=raced)
    space = suited(spaces.load(file), study_data)
    draws = Draws(seed=seed, first=space.first, clip=study_data.clip)
    journal = Journal(folder, file_storage(folder), draws, rungs=rungs if raced else ())
    ended: list[TrialResult] = []
    searcher = StudySearcher(
        journal,
        space,
        trials=trials,
        deadline=None,
        on_finish=ended.append,
        most_members=partial(packing.most_members, study_data=study_data),
    )
    seconds = 0.0
    while isinstance(pack := searcher.suggest("pack"), dict):
        members = {member["number"]: member["config_json"] for member in pack["members"]}
        seconds += sum(_steps(searcher, folder, members, study_data, raced=raced))
    if searcher.error is not None:
        raise searcher.error
    failed = [result.error for result in ended if result.state == "failed"]
    assert len(ended) == trials, f"{len(ended)} of {trials} trials have ended"
    assert not failed, failed[0]
    scores = [result.val_uar for result in ended if result.state == "complete"]
    return Study(
        seconds=seconds,
        best=max(score for score in scores if score is not None),
        pruned=trials - len(scores),
    )


def _steps(
    searcher: StudySearcher,
    folder: Folder,
    members: dict[int, str],
    study_data: StudyData,
    *,
    raced: bool,
) -> Iterator[float]:
    """Train a pack, as worker and scheduler do together, and yield the CPU seconds of each rung."""
    configs = [from_json(text) for text in members.values()]
    rungs = rungs_of(len(study_data.protocol.folds), raced=raced)
    active = ActivePack(folder, members, pack_.train(configs, study_data, raced=raced), rungs)
    leaving: list[int] = []
    while True:
        reached: list[tuple[list[TrialResult], bool]] = []
        leaves = tuple(leaving)
        yield cpu_seconds(lambda leaves=leaves, to=reached: to.append(active.next_rung(leaves)))
        found, done = reached[0]
        out = None if done else searcher.on_rung("pack", found)
        if out is None:
            break
        leaving = out
    active.close()
    searcher.on_trial_complete("pack", {"cached_stages": []})
