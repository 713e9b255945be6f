"""The real command on one machine."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(where, *arguments):
    """Run `python -m search.run` in a folder; the test fails where the command does."""
    command = [sys.executable, "-m", "search.run", *arguments, "--json", "--address", "local"]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=where, env=os.environ | path, capture_output=True, text=True, check=True
    )
