"""Note in each board file which study wrote it, who was sealed there, and by whom it chose.

The note is in the Parquet metadata beside the format number. `ownership.py` reads in it whose board
a file is, and `ledger.py` how often people were in a sealed test. Subjects are noted as hashes,
because boards are passed on and the names of people are data.
"""

import hashlib
import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import pyarrow as pa

from search.study.folder import Record

KEY = b"fer_search_origin"  # in the metadata of a file's schema
_DIGITS = 8  # hexadecimal: of 10,000 subjects, two share such a hash in 1 % of all cases


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The study that wrote a board file, and the subjects of its split, as hashes."""

    study: str
    started_at: str
    home: str | None  # the study's folder
    host: str  # the machine of the driver
    signature: str | None  # of the driver; None of a file that no driver wrote
    data_sha256: str
    split_sha256: str | None
    sealed: frozenset[str]  # whom its sealed test reads
    chosen_on: frozenset[str]  # by whose scores its trials were chosen


def of_study(record: Record) -> Origin:
    """Give the origin of a study's board, as its present driver writes it."""
    folds = record.protocol["folds"]
    return Origin(
        study=record.study,
        started_at=record.started_at,
        home=record.home,
        host=socket.gethostname(),
        signature=record.signatures[-1] if record.signatures else None,
        data_sha256=record.data_sha256,
        split_sha256=record.split_sha256,
        sealed=hashed(record.dataset, record.protocol["sealed"]),
        chosen_on=hashed(record.dataset, (subject for fold in folds for subject in fold)),
    )


def hashed(dataset: str, subjects: Iterable[str]) -> frozenset[str]:
    """Give a short hash of each subject's name; it depends on the dataset, too."""
    names = (f"{dataset}\0{subject}".encode() for subject in subjects)
    return frozenset(hashlib.sha256(name).hexdigest()[:_DIGITS] for name in names)


def added(schema: pa.Schema, origin: Origin) -> pa.Schema:
    """Add an origin to the metadata of a board's schema."""
    values = asdict(origin) | {name: sorted(getattr(origin, name)) for name in _SETS}
    return schema.with_metadata((schema.metadata or {}) | {KEY: json.dumps(values).encode()})


def read(schema: pa.Schema) -> Origin | None:
    """Read the origin in a board's schema; None for a file of an earlier version.

    Raises: ValueError where it is damaged.
    """
    text = (schema.metadata or {}).get(KEY)
    if text is None:
        return None
    found = json.loads(text)
    try:
        values = {each.name: found[each.name] for each in fields(Origin)}
        return Origin(**values | {name: frozenset(values[name]) for name in _SETS})
    except (KeyError, TypeError) as error:
        raise ValueError(f"its note of the study that wrote it is damaged: {error}") from error


_SETS = ("sealed", "chosen_on")
