"""Measure whether a search ends below the configs that its space names first (`FIRST`).

    python benchmarks/known_good.py [--space FILE] [--seeds N] [--trials N] [--data-root DIR]

For each seed, a search of the space with pruning runs whole in this process, on clips of the
synthetic dataset. Each config that the space names is trained on all folds with the same seed. The
gain is the best `val_uar` of the search less that of the best of these configs. Prints the gain of
each seed, and the mean with its standard error; a search is below its known-good configs if the
mean is below zero by more than two standard errors. The dataset is rendered first, unless
`--data-root` has it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).resolve().parents[1]
# Python puts this folder first, where `search` would be search.py and not our package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

import optuna  # noqa: E402  # after the path

from benchmarks.rows import racing  # noqa: E402
from benchmarks.rows.timing import one_thread  # noqa: E402
from fer_core.config import Config  # noqa: E402
from fer_core.data import datasets  # noqa: E402
from fer_core.data.protocol import sealed_and_folds  # noqa: E402
from fer_core.data.study_data import StudyData  # noqa: E402
from fer_core.scoring import pooled, score  # noqa: E402
from fer_core.synthetic import dataset  # noqa: E402
from fer_core.trial.evaluate import cross_validate  # noqa: E402
from search.drawing import space as spaces  # noqa: E402
from search.drawing.suited import suited  # noqa: E402

SUBJECTS = 10  # of the dataset, if it must be rendered


def gains(
    file: Path, study_data: StudyData, root: Path, *, seeds: int, trials: int
) -> list[tuple[float, float]]:
    """Return, for each seed, the best val_uar of the search and that of its known-good configs."""
    found = []
    for seed in range(seeds):
        began, known = time.monotonic(), _known_good(file, study_data, seed)
        best = racing.study(file, study_data, root, seed=seed, trials=trials, raced=True).best
        found.append((best, known))
        seconds = time.monotonic() - began
        print(
            f"seed {seed}: search {best:.3f}, known good {known:.3f} [{seconds:.0f} s]", flush=True
        )
    return found


def _study_data(data_root: Path, root: Path) -> StudyData:
    manifest = datasets.load("synthetic", dataset.ensure(data_root, subjects=SUBJECTS))
    labels = [f"{clip.emotion}_{clip.authenticity}" for clip in manifest.clips]
    return StudyData(
        manifest=manifest,
        protocol=sealed_and_folds([clip.subject for clip in manifest.clips], labels),
        task="hidden",  # six emotions alone are no task here: known-good configs reach 1.00
        seed=0,
        store=root / "store",
        weights={},
        landmarks="data",
    )


def _known_good(file: Path, study_data: StudyData, seed: int) -> float:
    """Train each config that the space names on all folds, and return the best val_uar."""
    space = suited(spaces.load(file), study_data)
    configs: list[Config] = []
    for index, parameters in enumerate(space.first):
        study = optuna.create_study(sampler=spaces.sampler(seed, index))
        study.enqueue_trial(dict(parameters))
        configs.append(space.draw(study.ask()))
    seeded = study_data.reseeded(seed)
    folds = (list(cross_validate(config, seeded)) for config in configs)
    return max(score(*pooled(results)[:2]).uar for results in folds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and return 1 if the searches are below their known-good configs."""
    parser = argparse.ArgumentParser(description="Compare searches with their known-good configs.")
    parser.add_argument("--space", type=Path, default=ROOT / "spaces" / "geometry.py")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = _study_data(given.data_root or root / "data", root)
        found = gains(given.space, study_data, root, seeds=given.seeds, trials=given.trials)
    more = [best - known for best, known in found]
    error = stdev(more) / len(more) ** 0.5 if len(more) > 1 else 0.0
    print(
        f"gain over the known-good configs: mean {fmean(more):+.3f} (standard error {error:.3f}), "
        f"least {min(more):+.3f}, of {len(more)} seeds"
    )
    return int(fmean(more) < -2 * error)


if __name__ == "__main__":
    sys.exit(main())
