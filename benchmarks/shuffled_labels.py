"""Search data whose labels say nothing, and count how often a study's interval holds chance.

    python benchmarks/shuffled_labels.py [--studies N] [--trials N] [--nested]

The synthetic dataset is rendered once. For each seed, the emotions of each person's clips are
exchanged at random, and the real command searches them: a model cannot do better than chance on
people whom it never saw. Prints, for each study, the best val_uar, that score corrected for the
choice, and the final score with its 95 % interval: the sealed test of the best trial, or with
--nested the nested score. At least 17 of 20 intervals should hold chance.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402  # after the path

from fer_core.data.datasets.synthetic import RECORD  # noqa: E402
from fer_core.synthetic import dataset  # noqa: E402
from search.cluster import connection  # noqa: E402
from search.request import settings  # noqa: E402
from search.request.settings import Machines  # noqa: E402
from search.screen.progress import QUIET, Progress  # noqa: E402
from search.session import session  # noqa: E402
from search.study.options import Options  # noqa: E402

SUBJECTS = 25  # five of them are sealed
CHANCE = 1 / 6
SPACE = """
from fer_core.config import ClipConfig, Config, GeometryConfig, OptimizerConfig, RecurrentConfig


def space(trial):
    cell = trial.suggest_categorical("cell", ["none", "gru"])
    encoding = trial.suggest_categorical("encoding", ["centred", "procrustes", "distances"])
    hidden = trial.suggest_categorical("hidden", [0, 32])
    return Config(
        streams=(GeometryConfig(encoding=encoding, hidden=hidden),),
        clip=ClipConfig(frames=3),
        recurrent=RecurrentConfig(cell="gru", hidden=16) if cell == "gru" else None,
        optimizer=OptimizerConfig(
            lr=trial.suggest_float("lr", 1e-3, 1e-1, log=True), epochs=10, updates=100
        ),
    )
"""


def shuffled(rendered: Path, target: Path, seed: int) -> None:
    """Copy a rendered dataset, with the names of each person's clips exchanged at random."""
    rng = random.Random(seed)
    for person in sorted((rendered / "FakeTrue_DB").iterdir()):
        (target / "FakeTrue_DB" / person.name).mkdir(parents=True)
        clips = sorted(person.glob("*.MP4"))
        for clip, name in zip(clips, rng.sample(clips, len(clips)), strict=True):
            for suffix in (".MP4", ".landmarks.npy"):
                new = target / name.relative_to(rendered).with_suffix(suffix)
                new.hardlink_to(clip.with_suffix(suffix))
    shutil.copy(rendered / RECORD, target / RECORD)


def studies(place: Path, count: int, trials: int, nested: bool) -> Iterator[pd.DataFrame]:
    """Run a study for each seed, and yield its leaderboard."""
    rendered = dataset.ensure(place / "rendered", subjects=SUBJECTS)
    (place / "labels.py").write_text(SPACE)
    for seed in range(count):
        with tempfile.TemporaryDirectory(dir=place) as folder:
            data = Path(folder) / "data"
            shuffled(rendered, data, seed)
            options = Options(
                space=str(place / "labels.py"),
                data_root=str(data),
                task="emotion",
                trials=trials,
                seed=seed,
                split_seed=seed,
                nested=nested,
                store=str(place / "store"),
                leaderboards=f"{folder}/leaderboards",
            )
            resolved = settings.resolve(options, studies=f"{folder}/studies")
            machines, progress = Machines(address="local"), Progress(verbosity=QUIET)
            outcome = session.run(resolved, machines, progress, None)
            yield pd.read_parquet(str(outcome.leaderboard))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--nested", action="store_true")
    parser.add_argument("--place", type=Path, help="keep the rendered dataset and the store here")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as scratch, connection.connected("local"):
        place = given.place or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        for seed, board in enumerate(studies(place, given.studies, given.trials, given.nested)):
            best = board[board["val_uar_corrected"].notna()].iloc[0]
            final = board[board["source"] == "nested"].iloc[0] if given.nested else best
            low, high = final["test_uar_low"], final["test_uar_high"]
            holds = low <= CHANCE <= high
            found.append((best["val_uar"], best["val_uar_corrected"], final["test_uar"], holds))
            print(
                f"seed {seed}: best val_uar {best['val_uar']:.3f}, corrected "
                f"{best['val_uar_corrected']:.3f}; final {final['test_uar']:.3f} "
                f"[{low:.3f}, {high:.3f}] {'holds' if holds else 'MISSES'} chance",
                flush=True,
            )
    val, corrected, test, hits = (pd.Series(column) for column in zip(*found, strict=True))
    print(
        f"{hits.sum()} of {len(hits)} intervals hold chance ({CHANCE:.3f}); mean best val_uar "
        f"{val.mean():.3f}, corrected {corrected.mean():.3f}, final {test.mean():.3f}"
    )


if __name__ == "__main__":
    main()
