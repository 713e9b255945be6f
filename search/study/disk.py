"""A full disk is no trial's fault: it stops the study, which goes on once there is room."""

import errno

from fer_core.errors import FerError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class FullDiskError(FerError):
    """No room for what a trial must write."""


def is_full(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is that of a full disk."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def said(error: BaseException) -> str:
    """Say in one line what was to be written, and what helps."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    at = getattr(cause, "filename", None) or "a file of the store or the study"
    return f"the disk is full: {at} cannot be written; nothing is lost: make room, and --resume"
