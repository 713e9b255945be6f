"""Which cases of a table each run tries, and which only the slow tests try."""

import pytest


def mostly_slow(table, quick):
    """Give the values of a table as cases, named by their keys; all but `quick` are slow."""
    return [
        pytest.param(value, marks=[] if name in quick else pytest.mark.slow, id=name)
        for name, value in table.items()
    ]
