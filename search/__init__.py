"""Search for the best facial-expression-recognition model of a dataset.

The commands are `python -m search.run`, `search.doctor`, `search.replay` and `search.compare`. From
Python there are two doors, `read_leaderboard` and `search.compare.compare`. This package is the
only one that knows Ray and Optuna; what it trains and measures is in `fer_core`.
"""

from os import PathLike, fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


def read_leaderboard(
    dataset: str, leaderboards: str | PathLike[str] = "leaderboards"
) -> "DataFrame":
    """Read all trials of all studies of a dataset, the best first.

    `leaderboards` is a folder or s3://..., as the option --leaderboards names it.

    Raises: FerError if there is no leaderboard of that dataset.
    """
    from fer_core.storage import paths
    from search.results import ranking, reading  # import pandas, 0.5 s: too long for --help

    return ranking.rank(reading.read(dataset, paths.parse(fspath(leaderboards))))
