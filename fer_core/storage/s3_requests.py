"""Requests to S3 that survive an outage: connect, try again until S3 answers, run many at once.

`S3Path` sends all of its requests through this module, which talks to S3 by pyarrow. When S3 does
not answer, the caller waits until it does, so that a short outage of the network never loses
finished work. An error that waiting cannot mend (no such bucket, access denied) is raised at once.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from fer_core.errors import FerError

Item = TypeVar("Item")
Result = TypeVar("Result")

SCHEME = "s3://"
PATIENCE_SECONDS = 3600.0  # how long to wait for an S3 that does not answer before giving up
_PAUSES = (0.5, 1.0, 2.0, 5.0)  # seconds before each new attempt; the last is used from then on
_THREADS = 16  # simultaneous requests of `at_once`
# In a thread of `at_once`, `_CALL.cancelled` is an event that is set when its caller no longer
# waits for the results, for instance after Ctrl-C. The thread then stops trying.
_CALL = threading.local()
# Words of errors that trying again cannot mend. They are compared in lower case and without
# underscores, since AWS writes AccessDenied and pyarrow ACCESS_DENIED.
_FINAL = (
    "accessdenied",
    "expiredtoken",
    "invalidaccesskeyid",
    "invalidclienttoken",
    "missingauthentication",
    "invalidtoken",
    "nosuchbucket",
    "permanentredirect",
    "signaturedoesnotmatch",
    "unrecognizedclient",
    # An answer to a HEAD request has no text, only a status: 400 for an expired token, 301 for a
    # bucket in another region.
    "(http status 400) during headobject",
    "(http status 301) during headobject",
)


class Outages:
    """Report when S3 stops answering and when it answers again, once for each outage.

    Replace `print` to send the reports elsewhere than to stderr.
    """

    def __init__(self) -> None:
        self.print: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
        self._since: dict[str, float] = {}  # bucket: when its outage began, on the monotonic clock

    def begin(self, bucket: str, reason: str) -> None:
        """Report an outage of a bucket, unless it was reported before."""
        if bucket not in self._since:
            self._since[bucket] = time.monotonic()
            self.print(f"s3://{bucket} does not answer, waiting: {reason}")

    def end(self, bucket: str) -> None:
        """Report that a bucket answers again, if it had an outage."""
        since = self._since.pop(bucket, None)
        if since is not None:
            self.print(f"s3://{bucket} answers again, after {time.monotonic() - since:.0f} s")


OUTAGES = Outages()  # the one instance that this process uses


def patiently(path: object, bucket: str, action: Callable[[], Result]) -> Result:
    """Run an action on S3, and repeat it while S3 does not answer.

    `path` names the file in the error message.

    Raises:
        FileNotFoundError: S3 answered that there is no such object.
        FerError: trying again would not help, or did not help for `PATIENCE_SECONDS`.
    """
    began, attempt = time.monotonic(), 0
    while True:
        try:
            result = action()
        except FileNotFoundError:
            OUTAGES.end(bucket)
            raise
        except OSError as error:
            too_late = time.monotonic() - began > PATIENCE_SECONDS
            if too_late or any(word in str(error).lower().replace("_", "") for word in _FINAL):
                raise unusable(path, error) from error
            OUTAGES.begin(bucket, _reason(error))
            cancelled: threading.Event = getattr(_CALL, "cancelled", threading.Event())
            if cancelled.wait(_PAUSES[min(attempt, len(_PAUSES) - 1)]):
                raise
            attempt += 1
        else:
            OUTAGES.end(bucket)
            return result


def at_once(
    action: Callable[[Item], Result], items: Iterable[Item], *, threads: int = _THREADS
) -> list[Result]:
    """Run an action on every item in threads, and return the results in the order of the items.

    It is meant for actions that mostly wait for S3. If the caller is interrupted, or one action
    fails, the others stop waiting.
    """
    cancelled = threading.Event()

    def run(item: Item) -> Result:
        _CALL.cancelled = cancelled
        return action(item)

    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(run, items))
    finally:
        cancelled.set()
        pool.shutdown(wait=False, cancel_futures=True)


@cache
def filesystem(bucket: str, options: str) -> Any:
    """Connect to S3, once per process, bucket and options.

    pyarrow finds the credentials, the region and AWS_ENDPOINT_URL by itself.

    Raises:
        FerError: pyarrow does not understand the options.
        OSError: S3 does not tell which region the bucket is in.
    """
    from pyarrow import ArrowInvalid
    from pyarrow.fs import FileSystem

    # Without delayed opening, pyarrow writes each file by three requests, as if it were large.
    delayed = f"{options}&allow_delayed_open=true" if options else "?allow_delayed_open=true"
    try:
        connection, _ = FileSystem.from_uri(f"{SCHEME}{bucket}{delayed}")
    except ArrowInvalid as error:
        raise unusable(f"{SCHEME}{bucket}{options}", error) from error
    return connection


def unusable(path: object, error: Exception) -> FerError:
    """Make the one-line error that tells why a path in S3 cannot be used."""
    return FerError(f"{path} cannot be used: {_reason(error)}.")


def _reason(error: Exception) -> str:
    """Shorten pyarrow's message to the failed request and the reason that AWS or the network gave.

    pyarrow appends technical details, which are cut off.
    """
    text = " ".join(str(error).split())
    return text.partition("; Details")[0].rstrip(".")[:300]
