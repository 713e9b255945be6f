"""Search for the best facial-expression-recognition model of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


def read_leaderboard(dataset: str, leaderboards: str | Path = "leaderboards") -> "DataFrame":
    """Read all trials of all studies of a dataset, the best first.

    Raises: FerError where there is no leaderboard of that dataset.
    """
    from search.results import leaderboard, ranking  # pandas takes 0.5 s, which --help has not

    return ranking.rank(leaderboard.read(dataset, Path(leaderboards)))
