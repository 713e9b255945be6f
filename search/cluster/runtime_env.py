"""What a search sends to all machines before its workers start there."""

import os
from pathlib import Path
from typing import Any

import fer_core
import search

# What machines are told of the environment: no secrets, which all users of a cluster would see.
_TOLD = ("AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION")


def environment() -> dict[str, Any] | None:
    """Give Ray's runtime environment: this code, and where S3 is; theirs may be of yesterday.

    None for a submitted job, which has said so itself.
    """
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return None
    packages = [Path(module.__file__ or "").parent for module in (search, fer_core)]
    message = {name: os.environ[name] for name in _TOLD if name in os.environ}
    return {"py_modules": list(map(str, packages)), "env_vars": message}
