"""The code and settings that a search sends to all machines before its workers start there.

The machines may hold an older copy of this code, or none. `connection.py` passes this to Ray as its
runtime environment.
"""

import os
from pathlib import Path
from typing import Any

import fer_core
import search
from search.study import provenance

# Variables that are sent along. No secrets: all users of a cluster could read them.
_SENT = ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION")


def environment() -> dict[str, Any] | None:
    """Return Ray's runtime environment: this code, its commit, and where S3 is.

    None inside a submitted job, because `ray job submit` has defined the environment already.
    """
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return None
    packages = [Path(module.__file__ or "").parent for module in (search, fer_core)]
    variables = {name: os.environ[name] for name in _SENT if name in os.environ}
    variables[provenance.COMMIT] = provenance.commit()
    return {"py_modules": list(map(str, packages)), "env_vars": variables}
