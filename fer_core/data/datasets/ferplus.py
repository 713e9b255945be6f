"""FER+: the faces of FER2013, relabelled by ten people who voted on eight emotions.

Source: Barsoum et al., 2016, https://arxiv.org/abs/1608.01041. Layout: the tables `fer2013.csv` and
`fer2013new.csv`, row by row for the same faces. The label is the majority, by the rule of the
authors (https://github.com/microsoft/FERPlus): single votes are dropped, and a face is ignored
unless one emotion then has more than half of the votes. The authors' other modes, which keep all
votes, are not used.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from fer_core.data.dataset import Dataset
from fer_core.data.datasets.fer2013 import OFFICIAL, TABLE, faces, lines
from fer_core.data.manifest import Manifest
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, assemble
from fer_core.data.tables.tables import need, rows, whole
from fer_core.errors import DataError

VOTES = "fer2013new.csv"
EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*EMOTIONS, "unknown", "nf")  # nf: not a face


def manifest(root: Path) -> Manifest:
    """Join the table of faces and the table of votes."""
    table, votes = need(root, TABLE), need(root, VOTES)
    return assemble("ferplus", root, faces(root, table, _verdicts(table, votes)))


def _verdicts(table: Path, votes: Path) -> Iterator[Verdict]:
    for row, ballot in zip_longest(lines(table), rows(votes, ("usage", *COLUMNS))):
        if row is None or ballot is None or row[1]["usage"] != ballot[1]["usage"]:
            raise DataError(
                f"{votes} and {table} differ in their rows, so votes would go to the wrong faces."
            )
        line, counts = ballot
        try:
            yield _majority({name: int(whole(counts[name])) for name in COLUMNS})
        except ValueError:
            cells = ", ".join(f"{name} '{counts[name]}'" for name in COLUMNS)
            yield Faulty(f"its votes are no whole numbers: {cells}", f"{votes.name}, line {line}")


def _majority(votes: dict[str, int]) -> Verdict:
    """Label a face by the votes of its row; ignore it if no emotion has a majority."""
    kept = {name: count for name, count in votes.items() if count > 1}
    winner = max(kept, key=lambda name: kept[name], default="unknown")
    if winner not in EMOTIONS or 2 * kept[winner] <= sum(kept.values()):
        return Ignored("no emotion has more than half of the votes")
    return Labels(emotion=winner)


DATASET = Dataset(
    manifest=manifest,
    protocols={"official": OFFICIAL},
    given_faces=lambda _: True,
    anonymous=True,
)
