"""The options of a study: what the command line asks for, and what study.json keeps of it.

`search.run` fills an `Options` from its arguments, `search.request` checks it, and the `Record` in
study.json is an `Options` with what was resolved when the study began; `--resume` reads it back.
A new option is one field here, and one parameter of `search.run.main` under the same name, whose
type and help stand in `search.request.arguments`. Everything between them carries all fields.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SYNTHETIC = "synthetic"  # the dataset that the project renders itself
PLACES = ("store", "leaderboards", "data_root", "subject_table", "surface")  # options: paths
SEALED = "sealed"  # the project's own protocol: a sealed share of the subjects, folds of the rest


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a study is of. Each field is a key of study.json, and holds what JSON can hold."""

    space: str  # the space file, as the user named it
    dataset: str = SYNTHETIC
    data_root: str | None = None  # folder of the dataset; None: where the synthetic one is rendered
    subject_pattern: str | None = None  # of dataset "folder": finds the subject in a file's path
    columns: Mapping[str, str] = field(default_factory=dict)  # our column: the user's table's
    subject_table: str | None = None  # file that names the subject of each clip
    task: str | None = None  # None: "hidden" if every clip has an authenticity, else "emotion"
    trials: int | None = None  # None: all points of the space, or a default number of draws
    per_family: int = 0  # least trials of each family of models; 0: as many as the sampler gives
    seed: int = 0
    split_seed: int = 0  # of who is sealed and who is in which fold; all studies share it
    store: str = "store"  # folder or s3://.. of what trials share
    leaderboards: str = "leaderboards"  # folder or s3://..
    weights: Mapping[str, str] = field(default_factory=dict)  # backbone: file
    faces: str = "auto"  # "given", "found"; "auto": as the dataset has them
    missing: str | None = None  # what becomes of a clip without a face; None: as the data are
    landmarks: str = "auto"  # "data", "dlib", "face_alignment"; "auto": the best available
    protocol_name: str = SEALED  # "sealed", or a protocol that the dataset has published
    nested: bool = False  # whether a whole search runs inside each fold, which is sealed meanwhile
    surface: str | None = None  # file of the frontal views' surface; None: the project's own
    max_missing: float = 0.05  # largest share of the clips that the study can do without
    smoke: bool = False  # small data and few trials
    repeats: int = 1  # training seeds with which each winner is refitted for its sealed test
    pruning: bool = True  # whether trials are compared at rungs, and the worse ones stopped


def with_places(values: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Give the values of options with each path among them changed."""
    named = {name: change(values[name]) for name in PLACES if values.get(name)}
    weights = {name: change(file) for name, file in (values.get("weights") or {}).items()}
    return {**values, **named, "weights": weights}
