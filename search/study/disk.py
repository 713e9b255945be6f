"""Recognise errors that mean a disk is full, and word the message about them.

A full disk says nothing about a trial's config, so it fails no trial. It stops the study, or takes
one machine out of use, and the study goes on once there is room. The workers, the searcher and the
command line use this module.
"""

import errno

from fer_core.errors import FerError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class FullDiskError(FerError):
    """A file that a trial must write does not fit on the disk."""


def is_full(error: BaseException) -> bool:
    """Return whether an error, or an error that caused it, means that a disk is full."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def full_disk_message(error: BaseException) -> str:
    """Name, in one line, the file that could not be written, and what the user can do."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    path = getattr(cause, "filename", None) or "a file of the store or the study"
    return (
        f"the disk is full: {path} cannot be written; no finished trial is lost: free some space, "
        "then continue with --resume"
    )
