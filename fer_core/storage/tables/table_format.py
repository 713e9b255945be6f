"""Find out how a table was saved, and read its records: separator, encoding, quotes, line ends.

`tables` reads all tables through this module. The standard library's `csv.Sniffer` is not used: it
guesses from the letters of the first rows, and can take the `e` of three names for a separator.
Here the separator is the one of four that makes an even table of the first rows.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SEPARATORS = (",", ";", "\t", "|")
_NAMED = {"\t": "tab", " ": "blank"}  # how a separator is written in a message, if not as itself
_BOMS = (  # the longer ones first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LENIENT = "fer-lenient"  # how `open` treats bytes that are not of the table's encoding
_SAMPLE = 1 << 16  # characters of a table from which its separator is found
_SAMPLE_ROWS = 50
_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a table was saved, as its content tells."""

    encoding: str
    separator: str
    quote: str = '"'
    head: int = 0  # records before the one with the names of the columns

    def __str__(self) -> str:
        """Say what is unusual about it; empty if nothing is."""
        named = _NAMED.get(self.separator, f"'{self.separator}'")
        usual = self.encoding in ("utf-8", "utf-8-sig")
        saved_in = "" if usual else f"the encoding {self.encoding.replace('cp', 'Windows-')}"
        separator = "" if self.separator == "," else f"the separator {named}"
        return " and ".join(part for part in (separator, saved_in) if part)


def column_key(name: str) -> str:
    """Write the name of a column without what people write differently: case, quotes, blanks."""
    return " ".join(plain_text(name).split()).strip("\"' ").lower()


def trimmed(cell: str) -> str:
    """Take the blanks off a cell, those that do not break a line and those without width, too."""
    return cell.strip().strip("\ufeff\u200b").strip()


def plain_text(text: str) -> str:
    """Write a text with an accent and its letter as one character, and nothing without width."""
    return unicodedata.normalize("NFC", text).replace("\ufeff", "").replace("\u200b", "")


def encoding(table: Path) -> str:
    """Find the encoding of a table: UTF-16, UTF-8 or Windows-1252.

    The first bytes tell UTF-16. A table that is UTF-8 to its end has this encoding, and so has one
    with few other bytes: they come from another program. Any other table is taken for Windows-1252,
    in which spreadsheets save in Western Europe and America. Read the table with `errors=LENIENT`.
    """
    with table.open("rb") as file:
        first = file.read(16)
        for bom, name in _BOMS:
            if first.startswith(bom):
                return name
        # Names of columns begin with ASCII letters, of which UTF-16 writes one half as zeros.
        if len(first) >= 4 and len(first) % 2 == 0:
            if not any(first[1::2]) and all(first[::2]):
                return "utf-16-le"
            if not any(first[::2]) and all(first[1::2]):
                return "utf-16-be"
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        accents = others = 0
        while chunk := file.read(_CHUNK):
            if not chunk.isascii():
                bad = sum("\udc80" <= letter <= "\udcff" for letter in chunk)
                accents, others = accents + sum(x > "\x7f" for x in chunk) - bad, others + bad
    return "utf-8" if not others or accents > others else "cp1252"


def _other_bytes(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows-1252, and what that does not have as Latin-1."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start : error.start + 1]
    latin = error.encoding in ("cp1252", "charmap")
    return byte.decode("latin-1" if latin else "cp1252", "replace"), error.start + 1


codecs.register_error(LENIENT, _other_bytes)


def head_cells(line: str) -> tuple[list[str], str]:
    """Divide the line with the names of the columns: give them, and the separator."""
    separator = max(SEPARATORS, key=lambda each: (line.count(each), -SEPARATORS.index(each)))
    return [column_key(cell) for cell in line.split(separator)], separator


def head(table: Path, wanted: Collection[str]) -> tuple[list[str], Format]:
    """Read the names of the columns, and find out how the table was saved."""
    saved_in = encoding(table)
    with table.open(encoding=saved_in, errors=LENIENT, newline="") as file:
        text = file.read(_SAMPLE)
    whole_table = len(text) < _SAMPLE
    if named := re.match(r'\s*"?sep=([^\r\n])"?[ ,;\t|]*(\r\n|\r|\n)', text, re.IGNORECASE):
        separators: Sequence[str] = (named[1],)
        text, before = text[named.end() :], 1
    else:
        separators, before = SEPARATORS, 0
    tried = [_tried(text, each, wanted, whole_table=whole_table) for each in separators]
    by_blanks = _tried(text, " ", wanted, whole_table=whole_table)
    if separators is SEPARATORS and by_blanks.rank[0] > max(1, *(each.rank[0] for each in tried)):
        tried.append(by_blanks)
    best = max(tried, key=lambda each: each.rank)
    found = Format(
        encoding=saved_in, separator=best.separator, quote=best.quote, head=before + best.blank
    )
    return list(best.names), found


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """What one separator makes of the beginning of a table."""

    separator: str
    quote: str
    names: Sequence[str]
    blank: int  # empty records before the names
    rank: tuple[int, bool, float, int]  # the higher, the likelier


def _tried(text: str, separator: str, wanted: Collection[str], *, whole_table: bool) -> _Tried:
    """Read the beginning of a table with one separator."""
    quote = "'" if text.lstrip().startswith("'") else '"'
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        quotechar=quote,
        skipinitialspace=separator != "\t",
    )
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
            if len(records) > _SAMPLE_ROWS:
                break
        else:
            records = records if whole_table else records[:-1]  # the last one may be cut
    except csv.Error:
        pass
    blank = next((i for i, record in enumerate(records) if any(map(trimmed, record))), 0)
    names = [column_key(cell) for cell in records[blank]] if records else []
    body = [record for record in records[blank + 1 :] if record]
    even = sum(len(record) == len(names) for record in body) / max(1, len(body))
    known = len({*names} & {*wanted})
    rank = (known, len(names) > 1, even, len(names))
    return _Tried(separator=separator, quote=quote, names=names, blank=blank, rank=rank)


def records(lines: Iterable[str], found: Format, width: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each record of a table with the number of its first line.

    A quote that is opened and not closed would swallow the lines after it. Where a record of
    several lines does not have the table's `width`, or where each of the lines has it and a quote
    stands within a cell, each of these lines is a record of its own.
    """
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for text in lines:
            taken.append(text)
            yield text

    reader, line = _reader(noted(), found), 1
    while True:
        taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error:  # a cell is longer than the csv module takes, or a quote is not closed
            cells = _long_line(taken[0], found, width) if len(taken) == 1 else []
        if cells is None:
            return
        apart = [_unquoted(text, found) for text in taken] if len(taken) > 1 else []
        even = all(len(each) == width for each in apart) and not _well_quoted(taken, found)
        if apart and (len(cells) != width or even):
            for number, cells_of_line in enumerate(apart):
                yield line + number, cells_of_line
        else:
            yield line, cells
        line += len(taken)


def _well_quoted(texts: Iterable[str], found: Format) -> bool:
    """Whether every quote opens or closes a cell, or is doubled."""
    try:
        list(_reader(texts, found, strict=True))
    except csv.Error:
        return False
    return True


def _reader(
    texts: Iterable[str],
    found: Format,
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL,
    *,
    strict: bool = False,
) -> Iterator[list[str]]:
    return csv.reader(
        texts,
        strict=strict,
        delimiter=found.separator,
        quotechar=found.quote,
        quoting=quoting,
        skipinitialspace=found.separator != "\t",
    )


def _long_line(text: str, found: Format, width: int) -> list[str]:
    """Read one line whose cells may have any length, such as the pixels of a large picture."""
    with _cells_of_any_length():
        cells = next(_reader([text], found), [])
    return cells if len(cells) == width else _unquoted(text, found)


def _unquoted(text: str, found: Format) -> list[str]:
    """Read one line in which a quote is a letter as any other."""
    with _cells_of_any_length():
        cells = next(_reader([text], found, csv.QUOTE_NONE), [])
    return [cell.strip(found.quote) for cell in cells]


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """Lift the limit of the csv module, which holds for the whole process, for a moment."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
