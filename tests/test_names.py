"""One name for one thing: the words that the house gave up do not come back.

`OLD` has each of them with the name that took its place. What is written into users' files keeps
its words (JSON keys, folders, columns): strings are not looked at, and `Plan.outlook` and
`Split.unfit` are keys that `--json` prints.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = {
    "Bench": "TrialData",
    "bench": "trial_data",
    "Setting": "TrialContext",
    "Held": "MemoryCache",
    "held": "cached, locked, held_out or what else it holds",
    "Place": "AnyPath",
    "Demand": "Reads",
    "choose": "whether_to_store",
    "Standing": "AtRung",
    "standing": "at_rung",
    "Experiment": "StudyData",
    "experiment": "study_data",
    "Way": "Branch",
    "Given": "StreamInput",
    "Outlook": "Duration",
    "Part": "TrialResult",
    "Drawn": "QueuedTrial",
    "as_drawn": "queued_trial",
    "_said": "_text",
    "told": "message",
    "say": "print",
    "Begun": "FoldFit",
    "begun": "fold_fit",
    "ImageSource": "ImageStream",
    "PointSource": "PointStream",
    "Source": "a stream",
    "Tiered": "CachedStore",
    "Shared": "SharedPlace",
    "gather": "read_or_make",
    "Pass": "SharedWork",
    "Machine": "MachineSpeed",
    "Alone": "OneFit",
    "Each": "InTurn",
    "Office": "LeaseServer",
    "Share": "TrialResources",
    "opened": "the sealed test, or what was opened",
    "belied": "contradicted",
    "barred": "unreadable",
    "_rivals": "_comparable",
    "_Run": "FoldTraining",
    "PackRun": "ActivePack",
}
CHECKED = ("search", "fer_core", "spaces", "tests", "benchmarks")


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Give each name that a file defines, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from ((alias.asname or alias.name, node.lineno) for alias in node.names)


@pytest.mark.parametrize("folder", CHECKED)
def test_no_class_function_or_attribute_has_an_old_name(folder):
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {name}; today it is {OLD[name]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, line in names(ast.parse(path.read_text()))
        if name in OLD
    ]

    assert offenders == []


def test_a_definition_under_an_old_name_is_found():
    source = "class Bench:\n    def held(self, told):\n        self.opened, begun = told, 1\n"

    found = {name for name, _ in names(ast.parse(source)) if name in OLD}

    assert found == {"Bench", "held", "told", "opened", "begun"}


def test_each_module_says_in_two_sentences_or_more_what_it_is_for():
    offenders = []
    for folder in ("search", "fer_core", "spaces"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
            sentences = len(re.findall(r"[.:?](?= |$)", text))
            if sentences < 2:
                offenders.append(f"{path.relative_to(ROOT)}: {text!r}")

    assert offenders == []
