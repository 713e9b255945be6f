"""The house of design.md: who may import whom, and how large anything may grow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = [p for d in ("search", "fer_core", "spaces") for p in sorted((ROOT / d).rglob("*.py"))]
LEVELS = [  # a part of fer_core imports itself and the rows above it
    {"errors"},
    {"places", "labels", "choices", "weight_files", "memory", "processes", "repeatable"},
    {"store", "checks"},
    {"tiers", "held", "prediction"},
    {"config", "timeline"},
    {"manifest", "stages"},
    {"protocol", "faces", "models", "precision"},
    {"experiment", "datasets", "features", "reduce", "training", "evaluation"},
    {"setting", "encoders", "feasible", "storing"},
    {"pretrain", "export", "activations"},
    {"sources", "predict"},
    {"packs", "bench"},
    {"race"},
    {"trial", "probe"},
    {"baselines"},
]
LARGEST_FILE, LARGEST_FUNCTION = 300, 40  # lines
# Lines of code: what explains it, and what is empty, is not to be saved on. It was 9,000 while
# there were three backbones, one stream and one weights format, 12,000 before stacked training,
# races and the rule of what to store, and 14,000 while all of it ran on one machine.
LARGEST_PRODUCT = 15_400


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "fer_core"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_product_code_to_hold():
    assert len(PRODUCT) > 30


@pytest.mark.parametrize("path", PRODUCT, ids=name)
def test_files_and_functions_stay_small(path):
    text = path.read_text()

    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]

    assert len(text.splitlines()) <= LARGEST_FILE
    for function in functions:
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert lines <= LARGEST_FUNCTION, f"{function.name} has {lines} lines"


def lines_of_code(path: Path) -> int:
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


def test_one_person_can_hold_the_product_in_their_head():
    assert sum(map(lines_of_code, PRODUCT)) <= LARGEST_PRODUCT


@pytest.mark.parametrize("path", sorted((ROOT / "fer_core").rglob("*.py")), ids=name)
def test_fer_core_knows_neither_ray_nor_optuna_nor_the_search(path):
    roots = {module.split(".")[0] for module in imports(path)}

    assert not roots & {"ray", "optuna", "search", "spaces"}


@pytest.mark.parametrize("path", sorted((ROOT / "fer_core").rglob("*.py")), ids=name)
def test_fer_core_imports_run_downward(path):
    parts = path.relative_to(ROOT / "fer_core").with_suffix("").parts
    if parts == ("__init__",):
        return
    level = next(i for i, names in enumerate(LEVELS) if parts[0] in names)
    allowed = {parts[0]}.union(*LEVELS[:level])

    used = {part_of(module) for module in imports(path) if module.startswith("fer_core.")}

    assert used <= allowed


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("[a-z]*.py")), ids=name)
def test_a_space_imports_its_trial_type_and_the_config_only(path):
    modules = imports(path)

    assert all(m == "optuna.Trial" or m.startswith("fer_core.config.") for m in modules)


@pytest.mark.parametrize("stem", ["choices", "checks", "config", "errors"])
def test_config_and_errors_need_the_standard_library_only(stem):
    modules = imports(ROOT / "fer_core" / f"{stem}.py")

    roots = {module.split(".")[0] for module in modules}

    assert roots <= set(sys.stdlib_module_names) | {"fer_core"}


@pytest.mark.parametrize("module", ["search.run", "spaces.temporal", "fer_core.datasets"])
def test_what_the_command_line_imports_is_light(module):
    code = f"import sys, {module}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert not {"torch", "ray", "cv2", "sklearn"} & set(loaded)
