"""Work spread over processes of this machine, each on one core, that end with their parent."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from fer_core.errors import FerError

Item = TypeVar("Item")


def spread(work: Callable[[Item], object], items: Sequence[Item], workers: int) -> Iterator[int]:
    """Do the work on each item, and yield how many are done; both must pickle.

    Raises: FerError where a process was killed; what is done by then is done.
    """
    if min(workers, len(items)) <= 1:
        for done, item in enumerate(items, start=1):
            work(item)
            yield done
        return
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=get_context("spawn"), initializer=_one_thread
    )
    try:
        jobs = [pool.submit(work, item) for item in items]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            yield done
    except BrokenProcessPool as error:
        raise FerError(
            "a working process was killed, for want of memory as a rule; make room and run the "
            "command again: it goes on where it stopped."
        ) from error
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # all are idle, or nobody waits for what they do
            process.terminate()


def _one_thread() -> None:
    """Keep to one core, and leave Ctrl-C to the parent, which ends its workers.

    The variables count where numpy and torch are not yet loaded.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    import cv2  # here and not above: not every parent needs it

    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no orphan waiting for work where the parent was killed."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
