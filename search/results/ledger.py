"""Count how often a study's sealed subjects were tested before, and by which studies.

A test is a final test only once. The boards of a dataset are the ledger: each names the sealed
subjects of its study (`origin.py`), and its rows say whether they were tested.
`search/cluster/sealed_test.py` reads it before it tests anyone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.errors import FerError
from fer_core.storage import paths
from fer_core.storage.paths import AnyPath
from fer_core.storage.s3_requests import at_once
from search.results import leaderboard, origin, reading
from search.results.origin import Origin
from search.study.folder import Record
from search.study.options import SYNTHETIC
from search.study.words import counted

# Datasets of which there are many, all with the same name: in another one of them, the same name of
# a subject need not be the same person.
_MANY_OF_ONE_NAME = ("folder", SYNTHETIC)
_NAMED = 3  # most studies that a line names
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class OtherStudy:
    """What another study of the dataset has done with the sealed subjects of this one."""

    study: str
    rows: int = 0  # rows with a score on some of them
    tested: frozenset[str] = _NOBODY  # those who were in its sealed test
    chosen_on: frozenset[str] = _NOBODY  # those by whom its trials were chosen
    same_split: bool = False
    unclear: str | None = None  # why it is not known who its subjects are


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What the other studies of a dataset have done with the sealed subjects of one study."""

    subjects: int  # that are sealed
    leaderboards: str
    others: tuple[OtherStudy, ...]
    unreadable: tuple[str, ...] = ()  # why a board could not be read, a line each

    @property
    def opened_before(self) -> int:
        """How many other studies have tested at least one of these subjects."""
        return sum(bool(other.tested) for other in self.others)

    def lines(self) -> Iterator[str]:
        """Say it in lines, one for each kind of finding."""
        tested = [other for other in self.others if other.tested]
        chosen = [other for other in self.others if other.chosen_on]
        same = [other for other in self.others if other.same_split]
        yield from self.unreadable
        if tested:
            rows = sum(other.rows for other in tested)
            people = self._share(_NOBODY.union(*(other.tested for other in tested)))
            yield (
                f"opened before: {people} were in the sealed tests of {_studies(tested)}, "
                f"{counted(rows, 'row')} in all"
            )
        else:
            yield f"opened before: never, as far as the boards in {self.leaderboards} say"
        if chosen:
            people = self._share(_NOBODY.union(*(other.chosen_on for other in chosen)))
            yield (
                f"were chosen on before: {people} were validation subjects of {_studies(chosen)}, "
                "which have another split; a config that was taken over from there has been "
                "selected on them"
            )
        if same:
            both = sum(bool(other.tested) for other in same)
            yield (
                f"same split: {_studies(same)}, {both} of which tested these subjects; their "
                "scores compare with this study's, but a choice among studies by test_uar would be "
                "a choice by the sealed subjects"
            )
        for reason in dict.fromkeys(other.unclear for other in self.others if other.unclear):
            unclear = [other for other in self.others if other.unclear == reason]
            yield f"not known: {_studies(unclear)}: {reason}"

    def _share(self, subjects: frozenset[str]) -> str:
        return f"{len(subjects)} of these {counted(self.subjects, 'subject')}"


def read(record: Record) -> Ledger:
    """Read what the other studies' boards say of the sealed subjects of a study.

    A board that cannot be read is named in the ledger, and does not stop the study.
    """
    own = origin.of_study(record)
    boards = paths.recorded(record.leaderboards) / record.dataset
    return of_subjects(own, record.dataset, boards, own_signatures=record.signatures)


def of_subjects(
    own: Origin, dataset: str, boards: AnyPath, *, own_signatures: Sequence[str] = ()
) -> Ledger:
    """Read what the boards in a folder say of the sealed subjects of `own`, except its own board.

    A study that was renamed has left a board under its old name, which is known by its signature.
    """
    files = reading.board_files(boards)
    others, unreadable = list[OtherStudy](), list[str]()
    for file, found in zip(files, at_once(_read, files), strict=True):
        if isinstance(found, str):
            unreadable.append(f"{found.rstrip('.')}: it is not counted")
            continue
        table, writer = found
        if file.name == leaderboard.file_name(own.study) or (
            writer and writer.signature in own_signatures
        ):
            continue
        other = _other(table, writer, own, dataset, file.stem)
        if other.tested or other.chosen_on or other.same_split or other.unclear:
            others.append(other)
    return Ledger(
        subjects=len(own.sealed),
        leaderboards=str(boards.parent),
        others=tuple(others),
        unreadable=tuple(unreadable),
    )


def _read(file: AnyPath) -> tuple[pa.Table, Origin | None] | str:
    """Read a board and its origin; a line that says why it cannot be read."""
    try:
        table = reading.read_file(file)
    except FerError as error:
        return str(error)
    if not {"source", "test_subjects"} <= set(table.column_names):
        return f"the leaderboard {file} does not say which rows had a sealed test"
    try:
        return table, origin.read(table.schema)
    except ValueError as error:
        return f"the leaderboard {file} is damaged: {error}"


def _other(
    table: pa.Table, writer: Origin | None, own: Origin, dataset: str, name: str
) -> OtherStudy:
    rows = _tested_rows(table)
    if writer is None:
        return _earlier(table, rows, own, name)
    shared = OtherStudy(
        study=writer.study,
        rows=rows,
        tested=own.sealed & (writer.tested or (writer.sealed if rows else _NOBODY)),
        chosen_on=own.sealed & writer.chosen_on,
        same_split=writer.split_sha256 == own.split_sha256,
    )
    if dataset in _MANY_OF_ONE_NAME and writer.data_sha256 != own.data_sha256:
        overlaps = shared.tested or shared.chosen_on
        why = f"subjects of the same names in other clips of '{dataset}'"
        return OtherStudy(study=writer.study, unclear=why if overlaps else None)
    return shared


def _earlier(table: pa.Table, rows: int, own: Origin, name: str) -> OtherStudy:
    """Judge a board of an earlier version, which does not say who was sealed, by its columns."""
    splits, data = (_values(table, each) for each in ("split_sha256", "data_sha256"))
    if splits == {own.split_sha256} and data == {own.data_sha256}:
        return OtherStudy(
            study=name, rows=rows, tested=own.sealed if rows else _NOBODY, same_split=True
        )
    return OtherStudy(study=name, unclear="an earlier version did not note who was sealed there")


def _tested_rows(table: pa.Table) -> int:
    """Count the rows with a sealed test; not those of baselines, by which nothing is chosen."""
    tested = pc.is_valid(table["test_subjects"])
    baselines = pc.equal(table["source"], "baseline")
    return int(pc.sum(pc.and_(tested, pc.invert(baselines))).as_py() or 0)


def _values(table: pa.Table, column: str) -> set[str]:
    """Give the values of a column; an earlier version may lack it."""
    if column not in table.column_names:
        return set()
    return set(table[column].drop_null().to_pylist())


def _studies(others: Iterable[OtherStudy]) -> str:
    names = [other.study for other in others]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    number = "1 other study" if len(names) == 1 else f"{len(names)} other studies"
    return f"{number} ({', '.join(names[:_NAMED])}{more})"
