"""Handle the signals that end a command, and keep them away from the processes that it starts.

Ctrl-C, a batch system's SIGTERM and the end of a terminal all mean the same to a command: keep what
is finished, say how to go on, and end. `search.command` handles them so. The signals do not reach
the processes that a command starts (`unreached`). The command ends those processes itself: if they
died first, it would fail before it could say how to go on.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130  # the exit code, as shells give it to a command ended by Ctrl-C


def handle(handler: Callable[[int, Any], Any]) -> Mapping[signal.Signals, Any]:
    """Let a function handle the signals that end a command; return what handled them before.

    A signal that is ignored stays ignored: nohup and shells start a command so if it should not end
    with its terminal, or not by Ctrl-C.
    """
    before = {number: signal.getsignal(number) for number in ENDING}
    changed = {number: was for number, was in before.items() if was != signal.SIG_IGN}
    for number in changed:
        signal.signal(number, handler)
    return changed


def interrupt(number: int, frame: Any) -> NoReturn:
    """Handle a signal as Python handles Ctrl-C.

    Raises: KeyboardInterrupt always.
    """
    raise KeyboardInterrupt


def end(number: int, frame: Any) -> NoReturn:
    """Handle a signal by ending this process at once; all that there was to say has been said."""
    os._exit(INTERRUPTED)


def ignore() -> None:
    """Ignore the signals that end a command, until the process has ended by itself."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def last_words() -> Iterator[None]:
    """Say the last words of a command in this context: no signal disturbs them.

    A signal that comes meanwhile or later ends the process at once, after the words.
    """
    with unreached():
        yield
        handle(end)


@contextmanager
def unreached(numbers: Iterable[signal.Signals] = ENDING) -> Iterator[None]:
    """Block signals, by default all that end a command, while the context lasts.

    A process that is started meanwhile inherits that, so they never reach it. One that comes for
    this process is delivered when the context ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
