"""Show a study's progress on stderr: a live screen on a terminal, and plain lines elsewhere.

`search/session/` and the rooms below it report to a `Progress` what was prepared, which trials
have finished and which nodes came or went. Nothing is printed with the verbosity `QUIET`.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_core import config as configs
from search.screen import grouped
from search.screen.cluster_state import ClusterState
from search.screen.remaining import predict
from search.screen.times import readable
from search.study.parts import TrialResult

QUIET, NORMAL, VERBOSE = 0, 1, 2
_STATES = ("complete", "pruned", "failed")
_BAR = 30  # columns of a progress bar
_STAGES = {  # what the screen calls each count of fer_core.storage.stages.Work
    "computed": "stages_made",
    "from the store": "stages_read",
    "from memory": "stages_held",
}
_EXPLAINED = """\
Each trial ends with a line: its number, its family, how it ended, its val_uar
(unweighted average recall of its folds together), and in brackets:
  trials finished/all of the study; best: highest val_uar of a complete trial;
  stages: results that trials share, such as faces and features, by where they
    came from, and the seconds that the store and memory have saved;
  left: predicted time to the end; it is below the P90 time in 9 of 10 studies."""
_PREDICTED_SECONDS = 0.5  # least time between two predictions


class Progress:
    """Counts finished trials and shows them; it keeps sums, so each trial costs equally little."""

    def __init__(self, *, verbosity: int = NORMAL, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._verbosity = verbosity
        self._started = time.monotonic()
        self.workers = 1  # how many trials run at once
        self._trials = 0
        self._states: Counter[str] = Counter()
        self._work: Counter[str] = Counter()  # sums of fer_core.storage.stages.Work
        self._best: float | None = None  # val_uar
        self._seconds: list[float] = []  # worker time of each trial
        self._remaining = ""
        self._predicted_at = -_PREDICTED_SECONDS
        self._skipped: set[str] = set()
        self._cluster = ""  # the nodes in words; empty while there is only one
        self._preempted = 0
        self._status = ""
        self._bar = ProgressBar(width=_BAR)  # of what is prepared before the first trial
        self._preparing, self._first = "", (0, 0.0)  # what is prepared; parts at first, and when
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

    def print(self, text: str) -> None:
        """Print a line that stays."""
        if self._verbosity > QUIET:
            self._console.print(Text(text))

    def print_all(self, lines: Iterable[str]) -> None:
        """Print several lines that stay."""
        for line in lines:
            self.print(line)

    def rendered(self, done: int, subjects: int) -> None:
        """Show how many subjects of the synthetic dataset are rendered."""
        self._status = f"rendered {done} of {subjects} subjects of the synthetic dataset"
        self._bar = ProgressBar(subjects, done, width=_BAR)
        if self._live is None and (done % 8 == 0 or done == subjects):
            self.print(self._status)

    def prepared(self, done: int, shards: int, verb: str = "prepared") -> None:
        """Show for how many parts of the dataset a stage is made; parts take about equally long."""
        now = time.monotonic()
        if verb != self._preparing or done <= self._first[0]:  # another stage
            self._preparing, self._first = verb, (done, now)
        before, began = self._first
        self._status = f"{verb} {done} of {shards} parts of the dataset"
        if before < done < shards:
            left = (now - began) / (done - before) * (shards - done)
            self._status += f", about {readable(left)} left"
        self._bar = ProgressBar(shards, done, width=_BAR)
        tenth = max(1, shards // 10)
        if self._live is None and (done % tenth == 0 or done == shards):
            self.print(self._status)

    def begin(self, trials: int, finished: Iterable[TrialResult]) -> None:
        """Start to show a search: how many trials there will be, and those that finished before.

        The lines to come are explained before the first search of a study.
        """
        again, self._trials, self._status = self._trials > 0, trials, ""
        self._states.clear()
        self._seconds.clear()
        self._best = None
        for result in finished:
            self._count(result)
            self._skipped |= set(result.skipped)
        if self._done:
            self.print(f"{self._done} of {trials} trials were finished before")
        if not again:
            self.print(_EXPLAINED)

    def skipped(self, reasons: Mapping[str, str]) -> None:
        """Show clips that cannot be used and why, each once in a study."""
        new = {clip: why for clip, why in reasons.items() if clip not in self._skipped}
        self._skipped |= new.keys()
        self.print_all(f"skipped {line}" for line in grouped.lines(new.items()))

    def finished(self, result: TrialResult) -> None:
        """Show how a trial ended."""
        self._count(result)
        self._predict()
        self.skipped(result.skipped)
        self.print(self._line(result))
        if self._verbosity >= VERBOSE and result.config_json:
            self.print(f"  {result.config_json}")

    def on_nodes(self, sample: ClusterState, pending: int, preempted: int) -> None:
        """Show which nodes joined, left or were lost, on a cluster of several.

        `pending` packs wait for a machine, and `preempted` trials lost theirs since the study
        began. A lost trial is shown when its error arrives, which may be after the loss of its
        node.
        """
        first = not self._cluster
        if first and sample.nodes + len(sample.lost) + len(sample.left) < 2:
            return
        hit, self._preempted = preempted - self._preempted, preempted
        self._cluster = (
            f"{sample.nodes} nodes, {sample.gpus_used:g} of {sample.gpus:g} GPUs in use, "
            f"{pending} pending, {preempted} preempted"
        )
        for address in sample.lost:
            self.print(f"node {address} is lost ({self._cluster})")
        for address in sample.left:
            self.print(f"node {address} has left ({self._cluster})")
        if hit:
            trials = "trial goes" if hit == 1 else "trials go"
            self.print(f"{hit} {trials} on elsewhere ({self._cluster})")
        for address in () if first else sample.joined:
            self.print(f"node {address} has joined ({self._cluster})")

    def __rich__(self) -> RenderableType:
        """Draw the live screen; rich's Live calls it four times a second."""
        grid = Table.grid(padding=(0, 2))
        if not self._trials:
            if self._status:
                grid.add_row(self._bar, self._status)
            return grid
        bar = ProgressBar(self._trials, self._done, width=_BAR)
        grid.add_row("trials", bar, self._counts)
        lines = [f"best val_uar {self._best_text}", f"running for {readable(self._elapsed)}"]
        if self._remaining:
            lines.append(self._remaining)
        rows: list[RenderableType] = [
            Text(""),
            grid,
            Text(", ".join(lines)),
            Text(f"stages: {self._stages}"),
        ]
        if self._cluster:
            rows.append(Text(f"cluster: {self._cluster}"))
        return Group(*rows)

    def _count(self, result: TrialResult) -> None:
        self._states[result.state] += 1
        self._work.update(result.work)
        self._seconds.append(result.seconds)
        if result.state == "complete" and result.val_uar is not None:
            self._best = max(self._best or 0.0, result.val_uar)

    def _predict(self) -> None:
        if self._elapsed - self._predicted_at < _PREDICTED_SECONDS:
            return
        self._predicted_at = self._elapsed
        found = predict(self._seconds, self._trials - self._done, self.workers)
        self._remaining = str(found) if found else ""

    def _line(self, result: TrialResult) -> str:
        config = configs.from_json(result.config_json) if result.config_json else None
        name = (config.stands_for or config.family) if config else "no config"
        score = result.error if result.val_uar is None else f"val_uar {result.val_uar:.3f}"
        if result.still_improving and result.state == "complete":
            score = f"{score}, still improving when it ended"
        where = f" at {result.reached}" if result.state == "pruned" and result.reached else ""
        state = [
            f"{self._done}/{self._trials}",
            f"best {self._best_text}",
            f"stages: {self._stages}",
        ]
        if self._remaining and self._done < self._trials:
            state.append(self._remaining)
        if self._cluster:
            state.append(self._cluster)
        return f"trial {result.number} {name} {result.state}{where}: {score}  [{'; '.join(state)}]"

    @property
    def _done(self) -> int:
        return self._states.total()

    @property
    def _counts(self) -> str:
        ended = ", ".join(f"{self._states[state]} {state}" for state in _STATES)
        return f"{ended} of {self._trials}"

    @property
    def _best_text(self) -> str:
        return "none yet" if self._best is None else f"{self._best:.3f}"

    @property
    def _stages(self) -> str:
        counts = ", ".join(f"{self._work[key]:.0f} {name}" for name, key in _STAGES.items())
        return f"{counts}, {self._work['seconds_saved']:.0f} s saved"

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started
