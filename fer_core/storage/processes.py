"""Spread work over processes of this machine. Each process uses one core.

Finding faces, rendering clips and reading thumbnails use it: all are bound by the CPU. The
processes end when their parent ends, however it ends. A signal that ends a command is the parent's
to handle, even if it is sent to all processes at once, as Ctrl-C, Slurm and systemd do.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process, resource_tracker
from typing import TypeVar

from fer_core.errors import FerError
from fer_core.storage import signals

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], object], items: Sequence[Item], workers: int) -> Iterator[int]:
    """Do the work on each item in `workers` processes, and yield how many items are done so far.

    Both `work` and the items must pickle. With one worker or one item it is done in this process.

    Raises: FerError if a process was killed; the items that were done by then stay done.
    """
    for done, _ in enumerate(results(work, items, workers), start=1):
        yield done


def results(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[int, Result]]:
    """Do the work as `spread` does, and yield the place of each item with its result.

    They come in the order in which they are done.

    Raises: FerError if a process was killed.
    """
    if min(workers, len(items)) <= 1:
        yield from enumerate(map(work, items))
        return
    with signals.unreached():  # not later with the pool: its start unblocks some signals again
        resource_tracker.ensure_running()
    pool = ProcessPoolExecutor(
        min(workers, len(items)), mp_context=get_context("spawn"), initializer=_use_one_core
    )
    try:
        with signals.unreached():  # the pool starts its processes here
            places = {pool.submit(work, item): place for place, item in enumerate(items)}
        for future in as_completed(places):
            yield places[future], future.result()
    except BrokenProcessPool as error:
        raise FerError(
            "a worker process was killed, most often because memory ran out; free some memory and "
            "run the command again: it continues where it stopped."
        ) from error
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # they are idle, or nobody waits for their results any more
            process.kill()  # SIGTERM would not reach it


def _use_one_core() -> None:
    """Prepare a worker process: one core, and an end with its parent.

    The environment variables work only because neither numpy nor torch is loaded yet.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    import cv2  # not at the top: a parent may not need it

    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, so that no worker is left behind."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
