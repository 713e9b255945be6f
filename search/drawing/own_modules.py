"""Find the modules of the user's own that a space file imports, and import them from a kept copy.

A space may import a helper that lies beside it, in the current folder, or wherever Python looks. A
study keeps a copy of each (`archive`), so that it draws the same after the helper was edited,
renamed or deleted. The packages that are installed, the standard library and this project are no
modules of the user's own. `space.py` makes a space's finder, and lets it work while the space is
loaded and drawn from.
"""

import ast
import importlib.util
import io
import site
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

KEPT = "space_modules.zip"  # the copy, beside the space file of a study
_OURS = frozenset({"fer_core", "search"})
_OF_A_SPACE = "of a space"  # in the spec of a module that a space's finder has found


class Finder(MetaPathFinder):
    """Finds the modules of one space: those of its kept copy, else those beside the space file.

    A kept module takes the place of any other one of that name. A module beside the file does not.
    """

    def __init__(self, space: Path) -> None:
        kept = space.with_name(KEPT)
        self.folder, self.kept = space.absolute().parent, kept if kept.is_file() else None
        self.names = frozenset(_top_names(kept)) if self.kept else frozenset[str]()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module by its full name; one within a package is found by its package."""
        if path is not None or (self.kept and fullname not in self.names):
            return None
        spec = PathFinder.find_spec(fullname, [str(self.kept or self.folder)])
        if spec is not None:
            spec.loader_state = _OF_A_SPACE
        return spec

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let imports use this finder while the context lasts."""
        for name in [each for each in sys.modules if each.partition(".")[0] in self.names]:
            if not _is_below(sys.modules[name], str(self.kept)):
                del sys.modules[name]  # it is the one that the kept copy stands for
        sys.meta_path.insert(0 if self.kept else len(sys.meta_path), self)
        try:
            yield
        finally:
            sys.meta_path.remove(self)


def forget() -> None:
    """Forget the modules of all spaces that were loaded before: another one may have such names."""
    found = {n for n, m in sys.modules.items() if _state(m) == _OF_A_SPACE}
    for name in [each for each in sys.modules if each.partition(".")[0] in found]:
        del sys.modules[name]


def _state(module: ModuleType) -> object:
    return getattr(getattr(module, "__spec__", None), "loader_state", None)


@contextmanager
def put_back(space: Path) -> Iterator[None]:
    """Put back, at the end of the context, the modules whose place those of a kept copy take."""
    names = Finder(space).names

    def taken() -> dict[str, ModuleType]:
        return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in names}

    before = taken()
    try:
        yield
    finally:
        for name in taken():
            del sys.modules[name]
        sys.modules.update(before)


def archive(space: Path, finder: Finder, loaded: Iterable[str] = ()) -> bytes | None:
    """Make a zip file of the user's own modules that a space imports; None if it imports none.

    `loaded` are modules that were loaded along with the space, perhaps by a name that it computed.
    """
    if finder.kept:
        return finder.kept.read_bytes()
    with finder.working():
        files = dict(sorted(_own_files(space, loaded).items()))
    if not files:
        return None
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        # zipimport takes a folder without __init__.py for a package only if it has an entry.
        folders = {f"{above}/" for name in files for above in Path(name).parents if above.name}
        for folder in sorted(folders):
            made.writestr(zipfile.ZipInfo(folder), b"")
        for name, file in files.items():
            made.writestr(zipfile.ZipInfo(name), file.read_bytes())
    return content.getvalue()


def _own_files(space: Path, loaded: Iterable[str]) -> dict[str, Path]:
    """Give the file of each own module that a space imports, by its name in the archive."""
    specs: dict[str, ModuleSpec | None] = {}
    files: dict[str, Path] = {}
    waiting = [*_imported(space, ""), *loaded]
    while waiting:
        for name in _with_packages(waiting.pop()):
            if name in specs:
                continue
            spec = specs[name] = _found(name, specs)
            file = Path(spec.origin or "") if spec else Path()
            if spec is None or file.suffix != ".py" or not _is_own(file):
                continue
            is_package = spec.submodule_search_locations is not None
            place = name.replace(".", "/")
            files[f"{place}/__init__.py" if is_package else f"{place}.py"] = file
            waiting += _imported(file, name if is_package else name.rpartition(".")[0])
    return files


def _imported(file: Path, package: str) -> Iterator[str]:
    """Name what a Python file imports, wherever in it: modules, and names within modules."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(filter(None, [*(above if node.level else []), node.module]))
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _with_packages(name: str) -> Iterator[str]:
    """Give the packages of a module, the outermost first, and the module itself."""
    parts = name.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _found(name: str, specs: dict[str, ModuleSpec | None]) -> ModuleSpec | None:
    package, _, _ = name.rpartition(".")
    if not package:
        if name in sys.stdlib_module_names or name in _OURS:
            return None
        with suppress(ImportError, ValueError):
            return importlib.util.find_spec(name)
        return None
    above = specs.get(package)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(above.submodule_search_locations))


def own_names(names: Iterable[str]) -> list[str]:
    """Select the loaded modules that are the user's own."""
    found = []
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and name.partition(".")[0] not in _OURS and _is_own(Path(file)):
            found.append(name)
    return found


def _is_own(file: Path) -> bool:
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    installed += [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib")]
    return not any(file.resolve().is_relative_to(Path(each).resolve()) for each in installed)


def _top_names(kept: Path) -> set[str]:
    with zipfile.ZipFile(kept) as content:
        return {name.split("/")[0].removesuffix(".py") for name in content.namelist()}


def _is_below(module: ModuleType, place: str) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(str(each).startswith(place) for each in places if each)
