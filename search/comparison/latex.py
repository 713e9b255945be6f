"""Write the tables of a comparison for a paper: tables of LaTeX's package booktabs.

A document needs `\\usepackage{booktabs}` and nothing else. The explanations stand above the tables
as comments.
"""

import re
from collections.abc import Sequence

from search.comparison.tables import TextTable

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def text(tables: Sequence[TextTable], explanations: Sequence[str]) -> str:
    """Give the tables, one after another, below the explanations."""
    comments = [f"% {line}" for line in explanations]
    return "\n".join([*comments, *(line for table in tables for line in _lines(table))])


def _lines(table: TextTable) -> list[str]:
    columns = "l" * len(table.headings)
    return [
        f"% {table.title}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(table.headings),
        r"\midrule",
        *map(_line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: str) -> str:
    """Escape what LaTeX reads as a command, and write the minus of numbers and differences."""
    escaped = "".join(_ESCAPES.get(sign, sign) for sign in cell)
    return re.sub(r"(?<![^ \[])-(?=0\.| )", "$-$", escaped)
