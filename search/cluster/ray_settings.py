"""What Ray reads when it is imported or started: environment variables, and where its files go.

Import this module before `ray`; a variable that the user has set keeps its value. `connection.py`
and `tuner.py` import it first of all.
"""

import os
import sys
from pathlib import Path

from fer_core.errors import ClusterError

SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # If Ray knew in advance that a node would be taken away, Tune would repeat its trials itself,
    # from the start.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage reports
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # write no files for each trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # we handle Ctrl-C ourselves
    # Tune's snapshots of its own state are of no use to us: the journal is the state.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

# Ray puts its sockets below its folder. The longest path in Ray 2.60, with a process id of 7 digits
# (proc_sys_kernel(5): pid_max is at most 2^22):
_SOCKET = "/session_2026-01-31_23-59-59_123456_1234567/sockets/plasma_store"
# In bytes, without the zero byte at its end: sun_path in unix(7), and in macOS's sys/un.h.
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_MOST_BYTES = _LONGEST_SOCKET - len(_SOCKET)  # of the path of Ray's folder
_NAMED = "RAY_TMPDIR"  # Ray's own variable for the folder that holds its folder
_OTHERS = "XDG_RUNTIME_DIR"  # a user's own folder; XDG Base Directory Specification 0.8


def default_folder() -> Path:
    """Return where `ray start` and `ray.init` put their files, if nobody tells them otherwise."""
    named = os.environ.get(_NAMED) or os.environ.get("TMPDIR") or "/tmp"
    return Path(named).absolute() / "ray"


def folder() -> Path:
    """Return where a Ray of this machine alone puts its files: Ray's default, if it can be used.

    A TMPDIR that is too long for sockets, or cannot be written, is passed over for a folder that
    will do. RAY_TMPDIR is not, since it is meant for Ray.

    Raises: ClusterError that says what to set.
    """
    default = default_folder()
    problem = _problem(default)
    if not problem:
        return default
    named = os.environ.get(_NAMED)
    others = [] if named else [os.environ.get(_OTHERS, ""), "/tmp"]
    places = [Path(text) / "ray" for text in others if text]
    found = next((place for place in places if not _problem(place)), None)
    if found is None:
        raise ClusterError(
            f"Ray cannot put its files into {default}, {problem}; set {_NAMED} to a folder that "
            f"can be written, with a path of at most {_MOST_BYTES - len('/ray')} bytes."
        )
    return found


def folder_text() -> str:
    """Say where the files are if that is not where they would be expected; else return ""."""
    place, default = folder(), default_folder()
    if place == default:
        return ""
    return f", its files in {place} and not in {default}, {_problem(default)}"


def _problem(place: Path) -> str:
    """Say what is wrong with a folder for Ray's files; return "" if nothing is."""
    if (length := len(os.fsencode(place))) > _MOST_BYTES:
        return f"whose path of {length} bytes is too long for sockets"
    existing = next(each for each in (place, *place.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"where {existing} is no folder that can be written"
    return ""
