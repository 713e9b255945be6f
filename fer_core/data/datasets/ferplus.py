"""FER+: the faces of FER2013 with ten people's votes on eight emotions.

Barsoum et al., 2016, https://arxiv.org/abs/1608.01041. Reads `fer2013.csv` and `fer2013new.csv`,
whose rows correspond. The label is the majority by its authors' rule for it
(https://github.com/microsoft/FERPlus): single votes are dropped, and a face without an emotion that
has more than half of the votes left is no part of the task. Their other modes keep all votes.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from fer_core.data.dataset import Dataset
from fer_core.data.datasets.fer2013 import OFFICIAL, TABLE, faces, lines
from fer_core.data.manifest import Manifest
from fer_core.data.reading import Ignored, Labels, Verdict, assemble
from fer_core.data.tables import need, rows
from fer_core.errors import DataError

VOTES = "fer2013new.csv"
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "nf")  # the last: not a face


def manifest(root: Path) -> Manifest:
    """Join the tables of faces and of votes."""
    table, votes = need(root, TABLE), need(root, VOTES)
    return assemble("ferplus", root, faces(root, table, _verdicts(table, votes)))


def _verdicts(table: Path, votes: Path) -> Iterator[Verdict]:
    for row, ballot in zip_longest(lines(table), rows(votes, ("usage", *COLUMNS))):
        if row is None or ballot is None or row[1]["Usage"] != ballot[1]["usage"]:
            raise DataError(f"{votes} and {table} differ in their rows, which must correspond.")
        line, counts = ballot
        try:
            yield _majority({name: int(counts[name]) for name in COLUMNS})
        except ValueError as error:
            raise DataError(f"{votes}, line {line}: a count of votes is none: {error}.") from error


def _majority(votes: dict[str, int]) -> Verdict:
    kept = {name: count for name, count in votes.items() if count > 1}
    winner = max(kept, key=lambda name: kept[name], default="unknown")
    if winner not in EMOTIONS or 2 * kept[winner] <= sum(kept.values()):
        return Ignored("no emotion has more than half of the votes")
    return Labels(emotion=winner)


DATASET = Dataset(manifest=manifest, protocols={"official": OFFICIAL})
