"""The arguments that say where a study runs, and where its files are.

They are apart from `arguments`, because they do not change what a study finds.
"""

from pathlib import Path
from typing import Annotated

from typer import Option

from fer_core.errors import FerError

MACHINES, PLACES = "Machines", "Places"  # groups of --help
_PLACE = "DIR|s3://..."

Address = Annotated[
    str,
    Option(
        metavar="ADDRESS",
        rich_help_panel=MACHINES,
        help="The Ray cluster to run on: HOST or HOST:PORT. 'local': this machine alone. 'auto': "
        "the cluster that this machine belongs to, else this machine alone.",
    ),
]
CpusPerTrial = Annotated[
    float,
    Option(
        metavar="CPUS",
        min=0.01,
        rich_help_panel=MACHINES,
        help="How many CPU cores each trial gets.",
    ),
]


def check_gpus(gpus: float | None) -> None:
    """Raise FerError where a trial is to get more than one GPU."""
    if gpus is not None and gpus > 1:
        raise FerError(
            f"--gpus-per-trial is {gpus:g}; it must be at most 1: a trial trains on one GPU, and "
            "more GPUs run more trials."
        )


GpusPerTrial = Annotated[
    float | None,
    Option(
        metavar="GPUS",
        min=0,
        rich_help_panel=MACHINES,
        help="The share of a GPU that each trial gets, at most 1: more GPUs run more trials. "
        "Default: 1 if the cluster has GPUs, else 0.",
    ),
]
GpusPerHead = Annotated[
    float | None,
    Option(
        metavar="GPUS",
        min=0,
        max=1,
        rich_help_panel=MACHINES,
        help="The share of a GPU for a trial that trains on stored features, which needs less. "
        "Default: 0.25, or less if --gpus-per-trial is. --dry-run suggests a value.",
    ),
]
Leaderboards = Annotated[
    str,
    Option(
        metavar=_PLACE, rich_help_panel=PLACES, help="Where the leaderboards of all studies are."
    ),
]
Studies = Annotated[
    str,
    Option(
        metavar=_PLACE,
        rich_help_panel=PLACES,
        help="Where studies are: each has a folder there, by which it is resumed and replayed.",
    ),
]
Store = Annotated[
    str,
    Option(
        metavar=_PLACE,
        rich_help_panel=PLACES,
        help="Where faces, views and features are kept, so that no trial or study computes them "
        "again.",
    ),
]
Cache = Annotated[
    str | None,
    Option(
        metavar="DIR[:GB]",
        rich_help_panel=PLACES,
        help="A folder on each machine that holds copies of a shared store, and its largest size. "
        "Default: ~/.cache/fer-search, at most half of the free disk.",
    ),
]
# Of a study that was moved, for `search.replay`.
MovedStore = Annotated[
    str | None,
    Option(
        "--store",
        metavar="DIR|s3://...",
        rich_help_panel=PLACES,
        help="Where the study's store is now, if it was moved.",
    ),
]
MovedLeaderboards = Annotated[
    str | None,
    Option(
        "--leaderboards",
        metavar="DIR|s3://...",
        rich_help_panel=PLACES,
        help="Where the study's leaderboards are now, if they were moved.",
    ),
]
MovedDataRoot = Annotated[
    Path | None,
    Option(
        "--data-root",
        metavar="DIR",
        rich_help_panel=PLACES,
        help="Where the study's dataset is now, if it was moved. Its clips must be the same.",
    ),
]
