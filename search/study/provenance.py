"""Say which code runs: its commit, whether it was changed since, and the versions of packages.

A worker notes both in the result of each trial that it trains, and the record of a study has those
with which it began. On a cluster the driver sends its commit along with its code, because the copy
on the other machines is no git checkout.
"""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

COMMIT = "FER_SEARCH_COMMIT"  # environment variable by which a driver tells workers its commit
UNKNOWN = "unknown"
_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("search", "fer_core")  # what decides how a trial comes out; a trial keeps its own config
_PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn", "fer-search")


@cache
def commit() -> str:
    """Return the commit of this code, such as 1a2b3c4d5e6f.

    If files were changed since the commit, `-dirty-` and a hash of the changes follow. It is
    "unknown" where the code lies in no git checkout of its own: if it was installed into a folder
    within another repository, that one's commit says nothing about it.
    """
    return os.environ.get(COMMIT) or of_checkout(_ROOT)


def of_checkout(root: Path) -> str:
    """Return the commit of the checkout whose top folder is `root`, as `commit` does."""
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel").strip()).resolve() != root.resolve():
            return UNKNOWN
        name = _git(root, "rev-parse", "--short=12", "HEAD").strip()
        changes = _git(root, "diff", "HEAD", "--", *_CODE).encode()
        listed = ("ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE)
        for file in filter(None, sorted(_git(root, *listed).split("\0"))):
            changes += f"\0{file}\0".encode() + (root / file).read_bytes()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return f"{name}-dirty-{hashlib.sha256(changes).hexdigest()[:8]}" if changes else name


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that may change a score."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # fer-search itself, if it is run from a checkout
    return found


def _git(root: Path, *arguments: str) -> str:
    # GIT_DIR and the like, which git sets for its hooks, would name another repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=own,
        capture_output=True,
        text=True,
        check=True,
        errors="replace",
    )
    return done.stdout
