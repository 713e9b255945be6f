"""Find the file that a cell of a table names, however its path is written there.

Tables come from other systems: with backslashes, with accents in another Unicode form than that of
the files, or with `.JPG` where the file is `.jpg`. Their paths may begin in a folder of another
machine, or in a folder below that of the dataset. A path is matched to the file that exists; what
exists nowhere stays as it is written, so that it can be named.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from fer_core.storage.file_names import is_junk


class TablePaths:
    """Finds files below the folder of a dataset; it lists each folder once."""

    def __init__(self, root: Path) -> None:
        self._root, self._text = root, str(root)
        self._bases = dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))
        self._names: dict[Path, _Names] = {}
        self.other_case: list[tuple[str, str]] = []  # a path in the table, and its file
        # How the table's paths begin, and how they begin below the root; set by `learn`.
        self.begin: tuple[str, str] | None = None

    def learn(self, cells: Iterable[str], *, deeper: bool = True) -> None:
        """Find out where the paths of a table begin, from a sample of them, if none is found.

        `deeper`: they may also begin in a folder below the root.
        """
        sample = list(filter(None, cells))
        found = [self.find(cell) for cell in sample]
        self.other_case.clear()
        if not sample or any(path is not None and os.path.lexists(path) for path in found):
            return
        first = _parts(sample[0])
        for dropped in range(len(first)):
            begins = [
                (theirs, ours)
                for ours in (self._folders if deeper else [""])
                if os.path.lexists(self._root.joinpath(ours, *first[dropped:]))
                for theirs in ["".join(f"{part}/" for part in first[:dropped])]
                if 2 * sum(self._begun(cell, (theirs, ours)) is not None for cell in sample)
                > len(sample)
            ]
            if len(begins) == 1:
                self.begin = begins[0]
                self.other_case.clear()
            if begins:
                return

    def find(self, cell: str) -> Path | None:
        """Give the path below the root that a cell names; None if it lies outside."""
        if self.begin is not None:
            moved = self._begun(cell, self.begin)
            if moved is not None:
                return moved
        for text in dict.fromkeys((cell, cell.replace("\\", "/"))):  # nearly all paths are plain
            plain = text.strip("./") and not text.startswith("/") and ".." not in text
            if plain and os.path.lexists(f"{self._text}/{text}"):
                return self._root / text
        below = list(dict.fromkeys(self._below(cell)))
        for path in below:
            if os.path.lexists(path):
                return path
        for path in below:
            if (found := self._respelled(path)) is not None:
                return found
        return below[-1] if below else None

    @cached_property
    def _folders(self) -> list[str]:
        """The root itself and the folders at most two below it, by their paths from there."""
        below = [each for deep in ("*/", "*/*/") for each in sorted(self._root.glob(deep))]
        names = [each.relative_to(self._root) for each in below]
        return ["", *(str(name) for name in names if not any(map(is_junk, name.parts)))]

    def _begun(self, cell: str, begin: tuple[str, str]) -> Path | None:
        """Give the file of a path, if it begins as the table's paths do and the file is there."""
        theirs, ours = begin
        text = "/".join(_parts(cell))
        if not text.startswith(theirs):
            return None
        path = self._root.joinpath(ours, text.removeprefix(theirs))
        return path if os.path.lexists(path) else self._respelled(path)

    def _below(self, cell: str) -> Iterator[Path]:
        """Give the paths below the root that a cell may mean, the likeliest first.

        A path that begins with the name of the dataset's own folder may begin above that folder.
        """
        for text in dict.fromkeys((cell, cell.replace("\\", "/"))):
            for base in self._bases:
                for start in (base, os.path.dirname(base)):
                    whole = os.path.normpath(os.path.join(start, text))
                    if whole.startswith(f"{base}/"):
                        path = self._root / whole[len(base) + 1 :]
                        if start == base or os.path.lexists(path):
                            yield path

    def _respelled(self, path: Path) -> Path | None:
        """Find the one file whose path differs in its Unicode form, or in the case of letters.

        None if there is no such file, or if there are several.
        """
        here = self._root
        parts = path.relative_to(self._root).parts
        other_case = False
        for part in parts:
            names = self._listed(here)
            same = names.exact.get(_composed(part), [])
            if part in same:
                same = [part]
            if not same:
                same, other_case = names.any_case.get(_composed(part).casefold(), []), True
            if len(same) != 1:
                return None
            here = here / same[0]
        if other_case:
            written = path.relative_to(self._root).as_posix()
            self.other_case.append((written, here.relative_to(self._root).as_posix()))
        return here

    def _listed(self, folder: Path) -> "_Names":
        """Give the names in a folder; none if it cannot be listed."""
        if folder not in self._names:
            names = _Names()
            with suppress(OSError, ValueError):  # ValueError: a name that no file can have
                for name in sorted(os.listdir(folder)):
                    names.exact[_composed(name)].append(name)
                    names.any_case[_composed(name).casefold()].append(name)
            self._names[folder] = names
        return self._names[folder]


@dataclass(frozen=True)
class _Names:
    """The names in a folder, by what they are looked up by."""

    exact: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    any_case: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def _composed(name: str) -> str:
    """Write a name in the Unicode form in which an accent and its letter are one character."""
    return unicodedata.normalize("NFC", name)


def _parts(cell: str) -> list[str]:
    """Divide a path at its slashes, whichever they are; a URL of a file is one, too."""
    text = cell.replace("\\", "/")
    if "%" in text or text.startswith("file:"):
        text = unquote(text.removeprefix("file:"))
    return [part for part in text.split("/") if part not in ("", ".", "..")]
