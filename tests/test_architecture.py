"""The house: which room may import which, and how large anything may grow.

A room is a folder or a file directly below `fer_core` or `search`. Rooms lie on floors; a room
imports rooms of lower floors only. Run with `-s` to see the table of all rooms.
"""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "run",
    "session",
    "doctor",
    "replay",
    "compare",
    "command",
}  # files beside search's rooms
FLOORS = {  # from the ground up
    "fer_core": [
        {"errors", "arrays", "machine"},
        {"storage", "config", "scoring", "weight_files"},
        {"data", "intervals"},
        {"models", "faces"},
        {"training", "features", "synthetic"},
        {"trial"},
        {"predict"},
    ],
    "search": [
        {"drawing", "statistics"},
        {"study"},
        {"results", "screen"},
        {"request", "comparison"},
        {"planning", "cluster"},
        {"checkup"},
        COMMANDS,
    ],
}
TOP = {  # of the repository
    *{".ci", ".gitignore", "CHANGELOG.md", "Makefile", "README.md", "benchmarks", "docs"},
    *{"cluster.kuberay.yaml", "cluster.local.yaml", "cluster.yaml", "deploy", "fer_core"},
    *{"mkdocs.yml", "pyproject.toml", "requirements.lock", "search", "spaces", "tests"},
}
LARGEST_FILE, LARGEST_FUNCTION, LARGEST_ROOM = 300, 40, 2_500  # lines; of a room, lines of code
MOST_FILES = 14  # of one folder
MOST_ROOMS, MOST_TOP_FILES = 10, 6  # folders and files at the top of fer_core

# The house at commit 6e1e8ea, before it was redrawn, as the functions below count it: each room
# with its files and its lines of code. The floors are those that its own test held.
OLD_FLOORS = {"fer_core": 15, "search": 1}
OLD_ARROWS = {"fer_core": 195, "search": 57}  # imports between rooms, not between commands
OLD_ROOMS = {
    "fer_core": """
        activations 1 111, baselines 1 81, bench 1 222, checks 1 132, choices 1 132, config 1
        213, datasets 28 1839, encoders 1 68, errors 1 21, evaluation 4 64, experiment 1 29,
        export 1 204, faces 16 1522, feasible 1 120, features 1 152, held 1 58, labels 1 46,
        manifest 1 83, memory 1 30, models 28 1823, packs 1 83, places 1 196, precision 1 94,
        predict 1 133, prediction 1 56, pretrain 1 50, probe 1 71, processes 1 45, protocol 1
        135, race 1 220, reduce 1 84, repeatable 1 9, setting 1 107, sources 1 219, stages 1 89,
        store 1 132, storing 1 79, tiers 1 176, timeline 1 72, training 9 785, trial 1 48,
        weight_files 1 23
    """,
    "search": """
        checkup 1 189, cluster 14 1266, command 1 42, data 1 71, doctor 1 142, duration 1 4,
        first_draws 1 43, forecast 1 60, foresight 1 105, outlook 1 91, plan 1 186, preparing 1 77,
        presets 1 43, replay 1 140, results 6 522, run 1 161, session 1 241, settings 1 201,
        sheet 1 105, space 1 109, study 12 1077
    """,
}


def product() -> list[Path]:
    folders = ("search", "fer_core", "spaces")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return dotted.removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Name what a file imports, wherever in it: modules, and names within modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> tuple[str, str] | None:
    """Name the package and the room of a module; None for what is none of the product's rooms."""
    package, _, rest = module.partition(".")
    return (package, rest.split(".")[0]) if package in FLOORS and rest else None


def floor_of(package: str, room: str) -> int | None:
    return next((i for i, rooms in enumerate(FLOORS[package]) if room in rooms), None)


def lines_of_code(path: Path) -> int:
    """Count lines but for docstrings, comments and empty ones."""
    text = path.read_text()
    lines = {
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(text)):
        described = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if described and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def arrows() -> Iterator[tuple[Path, tuple[str, str], tuple[str, str]]]:
    """Give each import between two rooms of one package: the file, its room, the other room."""
    for path in product():
        own = room_of(module_of(path))
        for other in map(room_of, imports(path)):
            if own and other and own[0] == other[0] and own != other:
                both_commands = own[0] == "search" and {own[1], other[1]} <= COMMANDS
                if not both_commands:
                    yield path, own, other


def files_by_room() -> dict[tuple[str, str], list[Path]]:
    rooms = defaultdict(list)
    for path in product():
        if room := room_of(module_of(path)):
            rooms[room].append(path)
    return rooms


def test_every_room_stands_on_a_floor():
    homeless = [room for room in files_by_room() if floor_of(*room) is None]

    assert homeless == []


def test_imports_run_downward_only():
    upward = [
        f"{named(path)} imports {other}"
        for path, own, other in arrows()
        if not (floor_of(*other) or 0) < (floor_of(*own) or 0)
    ]

    assert upward == []


def test_search_knows_fer_core_and_fer_core_knows_neither_ray_nor_optuna_nor_the_search():
    forbidden = {"ray", "optuna", "search", "spaces"}

    offenders = [
        named(path)
        for path in product()
        if path.is_relative_to(ROOT / "fer_core")
        and forbidden & {m.split(".")[0] for m in imports(path)}
    ]

    assert offenders == []


def test_no_file_imports_itself_through_others():
    modules = {module_of(path) for path in product()}
    graph = {}
    for path in product():
        found = imports(path)
        direct = {module for module in found if module in modules}
        graph[module_of(path)] = direct | {
            module.rpartition(".")[0]
            for module in found - direct
            if module.rpartition(".")[0] in modules
        }

    assert circle(graph) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Find one circle, as the modules along it."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(graph[module] - {module}):
            if found := visit(other, [*way, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := visit(module, []))), [])


def is_command(function):
    return any("command" in ast.unparse(each) for each in function.decorator_list)


def test_files_functions_folders_and_rooms_stay_small():
    offenders = []
    for path in product():
        text = path.read_text()
        if (lines := len(text.splitlines())) > LARGEST_FILE:
            offenders.append(f"{named(path)} has {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                # The signature of a command is the table of its options.
                first = node.body[0] if is_command(node) else node
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > LARGEST_FUNCTION:
                    offenders.append(f"{named(path)}: {node.name} has {lines} lines")
    for folder in {path.parent for path in product()} - {ROOT / "fer_core/data/datasets"}:
        files = [path for path in folder.glob("*.py") if path.stem != "__init__"]
        if len(files) > MOST_FILES:
            offenders.append(f"{named(folder)} has {len(files)} files")
    for (package, room), paths in files_by_room().items():
        if (lines := sum(map(lines_of_code, paths))) > LARGEST_ROOM:
            offenders.append(f"{package}/{room} has {lines} lines of code")

    assert offenders == []


def test_the_top_of_fer_core_and_of_the_repository_stay_small():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rooms = {path.parent.name for path in (ROOT / "fer_core").glob("*/__init__.py")}
    files = {path.stem for path in (ROOT / "fer_core").glob("*.py")} - {"__init__"}

    assert {Path(path).parts[0] for path in tracked} <= TOP
    assert len(rooms) <= MOST_ROOMS
    assert len(files) <= MOST_TOP_FILES


def test_spaces_import_their_trial_type_and_the_config_only():
    offenders = [
        f"{named(path)} imports {module}"
        for path in (ROOT / "spaces").glob("[a-z]*.py")
        for module in imports(path)
        if module != "optuna.Trial" and not module.startswith("fer_core.config.")
    ]

    assert offenders == []


def test_config_and_errors_need_the_standard_library_only():
    files = [ROOT / "fer_core/errors.py", *(ROOT / "fer_core/config").glob("*.py")]
    allowed = set(sys.stdlib_module_names) | {"fer_core"}

    offenders = [
        f"{named(path)} imports {module}"
        for path in files
        for module in imports(path)
        if module.split(".")[0] not in allowed
    ]

    assert offenders == []


@pytest.mark.parametrize("module", ["search.run", "spaces.temporal", "fer_core.data.datasets"])
def test_what_the_command_line_imports_is_light(module):
    code = f"import sys, {module}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert not {"torch", "ray", "cv2", "sklearn"} & set(loaded)


@pytest.mark.parametrize("package", FLOORS)
def test_the_house_has_fewer_rooms_and_imports_than_before(package):
    old = [entry.split() for entry in OLD_ROOMS[package].split(",")]
    new = {room: paths for (owner, room), paths in files_by_room().items() if owner == package}
    pairs = {(own, other) for _, own, other in arrows() if own[0] == package}

    print(f"\n{package:16}{'rooms':>6}{'floors':>7}{'imports between rooms':>23}")
    print(f"{'old':16}{len(old):6}{OLD_FLOORS[package]:7}{OLD_ARROWS[package]:23}")
    print(f"{'new':16}{len(new):6}{len(FLOORS[package]):7}{len(pairs):23}")
    print(f"\n{'room':16}{'floor':>6}{'files':>6}{'lines of code':>14}")
    for room in sorted(new, key=lambda room: (floor_of(package, room), room)):
        lines = sum(map(lines_of_code, new[room]))
        print(f"{room:16}{floor_of(package, room) + 1:6}{len(new[room]):6}{lines:14,}")
    print(f"\n{'old room':16}{'':6}{'files':>6}{'lines of code':>14}")
    for room, files, lines in old:
        print(f"{room:16}{'':6}{files:>6}{int(lines):14,}")

    assert len(new) < len(old)
    assert len(pairs) < OLD_ARROWS[package]
