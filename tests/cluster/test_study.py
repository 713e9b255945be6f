"""A study on three hosts keeps its results in S3, while one machine after another is lost.

The fixture `story` runs the study once, which takes minutes; the tests read what it left behind.
"""

import json
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.cluster.lab import HOSTS, ROOT, W1, W2

pytestmark = pytest.mark.cluster

TRIALS, WHOLE = 26, 6  # trials of mixed.py; how many of them, the last ones, train whole networks
WAIT_SECONDS = 900.0  # for what takes a minute or two where nothing else runs
NOTICED_SECONDS = 30.0
OUTAGE_SECONDS = 60.0
WHERE = ["--store", "s3://results/store", "--studies", "s3://results/studies"]
BOARDS = ["--leaderboards", "s3://results/boards"]
BOARD = """
import pandas as pd
board = pd.read_parquet("s3://results/boards/synthetic")
print("BOARD", board.to_json(orient="records"))
"""
CHECKPOINTS = """
from pyarrow import fs
s3, _ = fs.FileSystem.from_uri("s3://results")
found = s3.get_file_info(fs.FileSelector("results/studies", recursive=True, allow_not_found=True))
print("FOUND", *(f"{f.base_name} {f.mtime_ns}" for f in found if f.base_name.endswith(".ckpt")))
"""
LEFT = """
from pyarrow import fs
s3, _ = fs.FileSystem.from_uri("s3://results")
found = s3.get_file_info(fs.FileSelector("results", recursive=True, allow_not_found=True))
print("LEFT", *(file.path for file in found if file.is_file))
"""


@dataclass
class Story:
    """What the study printed, wrote and suffered."""

    log: str = ""
    noticed: dict[str, float] = field(default_factory=dict)  # seconds until a loss was noticed
    interrupted: set[str] = field(default_factory=set)  # ids of configs that had a checkpoint
    board: list[dict] = field(default_factory=list)
    code: int | None = None  # exit code of the last search
    left: list[str] = field(default_factory=list)  # objects in the bucket
    puts: Counter = field(default_factory=Counter)  # how often each object was written


class Search:
    """A search that runs while the context lasts, and what it prints."""

    def __init__(self, lab, name, command, environment):
        self.file = lab.folder / f"{name}.log"
        with self.file.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()

    @property
    def log(self):
        return self.file.read_text(errors="replace")

    def says(self, pattern, seconds=WAIT_SECONDS):
        """Wait until a line matches, and return the match."""
        began = time.monotonic()
        while not (found := re.search(pattern, self.log)):
            assert self.process.poll() is None, f"it ended without '{pattern}':\n{self.tail}"
            assert time.monotonic() - began < seconds, f"no '{pattern}':\n{self.tail}"
            time.sleep(0.5)
        return found

    def ends(self, seconds=WAIT_SECONDS):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end:\n{self.tail}") from None

    @property
    def tail(self):
        return self.log[-6000:]


def submitted(lab, name, *arguments):
    """Start a search as a Ray job from the laptop, with the laptop's code."""
    job = ["ray", "job", "submit", "--address", "http://localhost:8265", "--working-dir", "."]
    job += ["--", "python", "-m", "search.run", *arguments]
    return Search(lab, name, lab.at_the_laptop(*job), lab.user({}))


def on_the_head(lab, name, *arguments):
    """Start a search on the head; its workers have only the code that it sends them."""
    line = f"cd ~/fer-search && python -m search.run {' '.join(arguments)}"
    command = [str(HOSTS), "enter", "head", "su", "-", "ray", "-c", line]
    return Search(lab, name, command, lab.environment)


def printed_after(word, code, lab):
    """Run Python code at the laptop, and return what it prints after a word."""
    printed = lab.laptop("python", "-c", code).stdout
    return re.search(rf"^{word}(.*)$", printed, re.MULTILINE)[1].strip()


def checkpoints(lab):
    """Times of the checkpoints in the bucket, by the id of their config."""
    words = printed_after("FOUND", CHECKPOINTS, lab).split()
    files = dict(zip(words[::2], words[1::2], strict=True))
    kept: dict[str, list[str]] = {}
    for name in sorted(files):
        kept.setdefault(name.split("-")[0], []).append(files[name])
    return kept


def signal_workers(lab, signal, *hosts):
    """Let the workers on these hosts stand still (STOP) or go on (CONT).

    So no training ends while the test looks at it or waits for something, however fast it is.
    """
    for host in hosts:
        lab.enter(host, f"pkill -{signal} -f '^ray::.*Trainable' || true")


def stop_in_training(lab, *hosts):
    """Stop the workers when each of the hosts trains a network that has a checkpoint."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        if len(checkpoints(lab)) >= len(hosts):
            signal_workers(lab, "STOP", *hosts)
            if len(checkpoints(lab)) >= len(hosts):  # still, now that they stop
                return
            signal_workers(lab, "CONT", *hosts)
        assert time.monotonic() < deadline, f"{checkpoints(lab)}: not one for each of {hosts}"
        time.sleep(0.5)


def stop_after_another_epoch(lab, host):
    """Stop the workers of a host when another checkpoint is written; nothing else trains."""
    before = checkpoints(lab)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (after := checkpoints(lab)) or after == before:
        assert time.monotonic() < deadline, f"{host} writes no checkpoint: {after}"
        time.sleep(0.5)
    signal_workers(lab, "STOP", host)


def lose(search, address, how):
    """Lose a machine, and return the seconds until the study prints that it is lost."""
    began = time.monotonic()
    how()
    search.says(rf"node {re.escape(address)} is lost")
    return time.monotonic() - began


def cut(lab, host):
    lab.cut(host)
    signal_workers(lab, "CONT", host)


def kill_raylet(lab, host):
    lab.enter(host, "pkill -9 -x raylet")
    signal_workers(lab, "CONT", host)  # unless Ray has ended it already


@pytest.fixture(scope="module")
def story(lab, cluster, s3):
    story = Story()
    asked = ["--space", "tests/cluster/mixed.py", "--smoke", "--task", "emotion"]
    with submitted(lab, "first", *asked, "--address", "auto", *WHERE, *BOARDS) as first:
        study = first.says(r"study (mixed-synthetic-\w+)")[1]
        first.says(rf"\[{TRIALS - WHOLE}/{TRIALS}")  # all heads have ended
        stop_in_training(lab, "w1", "w2")
        story.noticed["w1's network"] = lose(first, W1, lambda: cut(lab, "w1"))
        lab.plug("w1")
        first.says(rf"node {re.escape(W1)} has joined")
        stop_after_another_epoch(lab, "w1")
        story.interrupted = set(checkpoints(lab))
        story.noticed["w2's raylet"] = lose(first, W2, lambda: kill_raylet(lab, "w2"))
        lab.enter("head", "pkill -9 -f -- '-m search[.]run'")
        signal_workers(lab, "CONT", "w1")
        first.ends()

    resume = ["--resume", study, "--studies", WHERE[-1], "--address", "auto"]
    with on_the_head(lab, "second", *resume) as second:
        second.says(rf"\[\d+/{TRIALS}")
        s3.stop()
        time.sleep(OUTAGE_SECONDS)
        s3.start()
        story.code = second.ends()

    story.log = first.log + second.log
    story.board = json.loads(printed_after("BOARD", BOARD, lab))
    story.left = printed_after("LEFT", LEFT, lab).split()
    served = (lab.folder / "moto_server.log").read_text(errors="replace")
    story.puts = Counter(re.findall(r'"PUT /(results/\S+?)(?:\?\S*)? HTTP/1.1" 200', served))
    for lost, seconds in story.noticed.items():
        print(f"\nthe loss of {lost} was noticed after {seconds:.1f} s")
    return story


def trials(story):
    return [row for row in story.board if row["source"] == "search"]


def test_the_study_ends_well_whatever_was_lost(story):
    assert story.code == 0, story.log[-6000:]


def test_every_trial_finished_once_and_stands_on_the_board(story):
    finished = trials(story)

    assert Counter(row["state"] for row in finished) == {"complete": TRIALS}
    assert len({row["config_id"] for row in finished}) == TRIALS
    assert [row["state"] for row in story.board if row["source"] == "baseline"] == ["complete"] * 3


def test_trials_ran_on_both_workers_and_none_on_the_head(story):
    assert {row["host"] for row in trials(story)} == {"w1", "w2"}


def test_every_stage_was_computed_once_in_the_cluster(story):
    stored = re.compile(r"results/store/\w+/\w+[.](npy|json)")
    stages = {name: count for name, count in story.puts.items() if stored.fullmatch(name)}

    assert len(stages) > 100
    assert set(stages.values()) == {1}


def test_each_loss_was_noticed_within_half_a_minute(story):
    assert set(story.noticed) == {"w1's network", "w2's raylet"}
    assert max(story.noticed.values()) <= NOTICED_SECONDS


def test_each_network_that_lost_its_machine_went_on_from_a_checkpoint(story):
    restored = {row["config_id"]: row["epochs_restored"] for row in trials(story)}

    print(f"\nepochs restored: { {config: restored[config] for config in story.interrupted} }")
    assert len(story.interrupted) >= 2  # one on each worker
    assert min(restored[config] for config in story.interrupted) > 0


def test_no_loss_counts_as_a_failure_of_a_trial(story):
    assert not [row["error"] for row in trials(story) if row["error"]]
    assert re.search(r"[1-9]\d* preempted", story.log)


def test_an_outage_of_s3_is_waited_for_and_printed(story):
    assert "s3://results does not answer, waiting" in story.log
    seconds = [
        float(s) for s in re.findall(r"s3://results answers again, after (\d+) s", story.log)
    ]
    assert max(seconds) > 0.5 * OUTAGE_SECONDS


def test_no_checkpoint_is_left(story):
    assert not [name for name in story.left if name.endswith(".ckpt")]


def test_a_folder_of_the_head_is_refused_with_what_to_do_instead(lab, cluster):
    command = (
        "cd ~/fer-search && python -m search.run --space spaces/smoke.py --smoke --address auto"
        " --store ~/store 2>&1; echo EXIT $?"
    )

    printed = lab.enter("head", command, timeout=180)

    assert "EXIT 2" in printed
    assert re.search(
        r"error: --store /home/ray/store is a folder of this machine, and node 10\.99\.0\.1[12] "
        r"would not see it; give a folder that all machines mount, or s3://BUCKET/FOLDER\.",
        printed,
    )


def test_when_it_is_over_nothing_of_ray_is_left(lab, cluster):
    cluster.end()

    for host in ("head", "w1", "w2"):
        assert not re.search(r"raylet|gcs_server|ray::", lab.enter(host, "ps -eo args"))
