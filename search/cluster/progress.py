"""What a run says while it works, on stderr: a live screen on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_core import config as configs
from search.study.parts import Part

QUIET, NORMAL, VERBOSE = 0, 1, 2


class Progress:
    """Counts finished trials and shows them."""

    def __init__(self, *, verbosity: int = NORMAL, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._verbosity = verbosity
        self._started = time.monotonic()
        self._trials = 0
        self._parts: dict[int, Part] = {}
        self._skipped: set[str] = set()
        self._status = ""
        self._bar = ProgressBar(width=40)  # of what comes before the first trial
        live = verbosity > QUIET and self._console.is_terminal
        self._live = Live(self, console=self._console, transient=True) if live else None

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._verbosity > QUIET:
            self._console.print(Text(text))

    def rendered(self, done: int, subjects: int) -> None:
        """Say how far the synthetic dataset is."""
        self._status = f"rendered {done} of {subjects} subjects of the synthetic dataset"
        self._bar = ProgressBar(subjects, done, width=40)
        if self._live is None and (done % 8 == 0 or done == subjects):
            self.say(self._status)

    def prepared(self, done: int, shards: int) -> None:
        """Say how far the making of a stage is; shards are about equally long."""
        self._status = f"prepared {done} of {shards} shards"
        self._bar = ProgressBar(shards, done, width=40)
        tenth = max(1, shards // 10)
        if self._live is None and (done % tenth == 0 or done == shards):
            self.say(self._status)

    def begin(self, trials: int, finished: Iterable[Part]) -> None:
        """Set the number of trials, and recall those of earlier runs."""
        self._trials, self._status = trials, ""
        self._parts = {part.number: part for part in finished}
        for part in self._parts.values():
            self._skipped |= set(part.skipped)
        if self._parts:
            self.say(f"{len(self._parts)} of {trials} trials were finished before")

    def finished(self, part: Part) -> None:
        """Say how a trial ended."""
        self._parts = self._parts | {part.number: part}  # anew: the screen's thread reads it
        for clip, reason in part.skipped.items():
            if clip not in self._skipped:
                self._skipped.add(clip)
                self.say(f"skipped {clip}: {reason}")
        self.say(self._line(part))
        if self._verbosity >= VERBOSE and part.config_json:
            self.say(f"  {part.config_json}")

    def __rich__(self) -> RenderableType:
        """Draw the live screen; Live asks for it four times a second."""
        grid = Table.grid(padding=(0, 2))
        if not self._trials:
            if self._status:
                grid.add_row(self._bar, self._status)
            return grid
        grid.add_row("trials", ProgressBar(self._trials, len(self._parts), width=40), self._counts)
        grid.add_row("best", self._best, "")
        grid.add_row("stages", self._stages, f"{self._elapsed:.0f} s")
        return Group(Text(""), grid)

    def _line(self, part: Part) -> str:
        config = configs.from_json(part.config_json) if part.config_json else None
        name = (config.stands_for or config.family) if config else "no config"
        score = part.error if part.val_uar is None else f"val_uar {part.val_uar:.3f}"
        ended = f"trial {part.number} {name} {part.state}: {score}"
        return f"{ended}  [{len(self._parts)}/{self._trials}, best {self._best}, {self._stages}]"

    @property
    def _counts(self) -> str:
        states = [part.state for part in self._parts.values()]
        said = f"{states.count('complete')} complete, {states.count('pruned')} pruned"
        return f"{said}, {states.count('failed')} failed of {self._trials}"

    @property
    def _best(self) -> str:
        scores = [p.val_uar for p in self._parts.values() if p.val_uar and p.state == "complete"]
        return f"{max(scores):.3f}" if scores else "none yet"

    @property
    def _stages(self) -> str:
        def total(name: str) -> int:
            return int(sum(part.work.get(name, 0) for part in self._parts.values()))

        return f"stages {total('stages_made')} made, {total('stages_read')} read"

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started
