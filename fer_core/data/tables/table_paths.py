"""Find the file that a cell of a table names, however its path is written there.

Tables come from other systems: with backslashes, with accents in another Unicode form than that of
the files, with absolute paths, or with `.JPG` where the file is `.jpg`. A path is matched to the
file that exists; what exists nowhere stays as it is written, so that it can be named.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


class TablePaths:
    """Finds files below the folder of a dataset; it lists each folder once."""

    def __init__(self, root: Path) -> None:
        self._root, self._text = root, str(root)
        self._bases = dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))
        self._names: dict[Path, _Names] = {}
        self.other_suffix: list[tuple[str, str]] = []  # a path in the table, and its file

    def find(self, cell: str) -> Path | None:
        """Give the path below the root that a cell names; None if it lies outside."""
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
        """Find the one file whose path differs in its Unicode form, or in the case of its suffix.

        None if there is no such file, or if there are several.
        """
        here = self._root
        parts = path.relative_to(self._root).parts
        for place, part in enumerate(parts):
            names = self._listed(here)
            same = names.exact.get(_composed(part), [])
            if part in same:
                same = [part]
            if not same and place == len(parts) - 1:
                same = names.any_suffix.get(_small_suffix(part), [])
                if len(same) == 1:
                    self.other_suffix.append((path.relative_to(self._root).as_posix(), same[0]))
            if len(same) != 1:
                return None
            here = here / same[0]
        return here

    def _listed(self, folder: Path) -> "_Names":
        """Give the names in a folder; none if it cannot be listed."""
        if folder not in self._names:
            names = _Names()
            with suppress(OSError, ValueError):  # ValueError: a name that no file can have
                for name in sorted(os.listdir(folder)):
                    names.exact[_composed(name)].append(name)
                    names.any_suffix[_small_suffix(name)].append(name)
            self._names[folder] = names
        return self._names[folder]


@dataclass(frozen=True)
class _Names:
    """The names in a folder, by what they are looked up by."""

    exact: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    any_suffix: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def _composed(name: str) -> str:
    """Write a name in the Unicode form in which an accent and its letter are one character."""
    return unicodedata.normalize("NFC", name)


def _small_suffix(name: str) -> str:
    """Write a composed name with its suffix in lower case."""
    stem, suffix = os.path.splitext(_composed(name))
    return stem + suffix.lower()
