"""Search for the best facial-expression-recognition model of a dataset."""

from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


def read_leaderboard(
    dataset: str, leaderboards: str | PathLike[str] = "leaderboards"
) -> "DataFrame":
    """Read all trials of all studies of a dataset, the best first; from a folder, or s3://..

    Raises: FerError where there is no leaderboard of that dataset.
    """
    from fer_core.storage import paths
    from search.results import leaderboard, ranking  # pandas takes 0.5 s, which --help has not

    return ranking.rank(leaderboard.read(dataset, paths.parse(fspath(leaderboards))))
