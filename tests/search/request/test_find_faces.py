import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_core.config import ClipConfig
from fer_core.data.datasets import load
from fer_core.errors import DataError
from fer_core.faces import faces_stage, views_stage
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store
from search.request import find_faces

ROOT = Path(__file__).parents[3]
PREPARE = """
import sys
from pathlib import Path
from fer_core.data.datasets import load
from search.request import find_faces

if __name__ == "__main__":
    root, store = map(Path, sys.argv[1:])
    find_faces.faces(load("synthetic", root), engine="dlib", store=store, workers=2, progress=print)
"""


@pytest.fixture
def few(rendered):
    manifest = load("synthetic", rendered)
    return replace(manifest, clips=manifest.clips[:20])


def prepared(manifest, store, **changes):
    chosen = {"engine": "data", "workers": 1, "progress": lambda done, total: None}
    return find_faces.faces(manifest, store=store, **chosen | changes)


def test_progress_is_told_after_every_missing_shard_and_then_nothing_is_missing(few, tmp_path):
    message = []

    first = prepared(few, tmp_path, workers=2, progress=lambda *counts: message.append(counts))
    again = prepared(few, tmp_path, workers=2, progress=lambda *counts: message.append(counts))

    shards = len(first.faces)
    assert message == [(i + 1, shards) for i in range(shards)]
    assert (first.made, again.made) == (shards, 0)
    assert [f.clips for f in first.faces] == [f.clips for f in again.faces]


def is_running(pid):
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_killed_at_work_it_goes_on_where_it_was_and_leaves_no_process_behind(rendered, tmp_path):
    script, store = tmp_path / "prepare.py", tmp_path / "store"
    script.write_text(PREPARE)
    command = [sys.executable, str(script), str(rendered), str(store)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(store.glob("faces/*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGKILL)
    while any(map(is_running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    there = len(list(store.glob("faces/*.json")))

    resumed = prepared(load("synthetic", rendered), store, engine="dlib", workers=2)

    assert children
    assert not any(map(is_running, children))
    assert 2 <= there < len(resumed.faces)
    assert resumed.made == len(resumed.faces) - there
    assert resumed.skipped == {}


def test_a_share_of_missing_clips_within_the_limit_passes_and_one_above_it_does_not(few):
    bad = replace(few, left_out=(("gone.mp4", "it does not exist"),))
    skipped = {few.clips[0].clip: "no face found in 20 frames."}

    find_faces.check_missing(bad, skipped, 2 / 21, given=False)

    with pytest.raises(DataError, match=r"9\.5% of the clips .* --max-missing is 5\.0%.*gone\.mp4"):
        find_faces.check_missing(bad, skipped, 0.05, given=False)


def test_nothing_left_is_too_little_whatever_the_limit(few):
    skipped = dict.fromkeys((clip.clip for clip in few.clips), "no face found in 20 frames.")

    with pytest.raises(DataError, match=r"no clip of .* can be used: no face found"):
        find_faces.check_missing(few, skipped, 1.0, given=False)


MEASURE = """
import re, sys
from pathlib import Path
from fer_core.faces import faces_stage, views_stage
from fer_core.config import ClipConfig
from fer_core.data.manifest import Clip, build
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store

path = Path(sys.argv[1])
clip = Clip(clip="a", subject="1", emotion="x", authenticity=None, path=path, sha256="")
manifest, store = build("folder", path.parent, [clip]), Store(path.parent / "store")
shards = faces_stage.shards(manifest, "dlib", "cpu", Tally())
entries = read_or_make(store, shards, Tally())
made = list(zip(shards, entries))
read_or_make(store, views_stage.shards(made, ClipConfig(), "aligned", None), Tally())
first, past = entries[0].meta["clips"]["a"]
peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
print(past - first, int(peak[1]) / 1024)
"""


@pytest.mark.slow
def test_four_seconds_at_100_frames_of_1280x960_are_prepared_in_under_500_mb(rendered, tmp_path):
    """400 frames hold 1.5 GB of pixels; each rendered frame is shown for four."""
    import av
    import cv2

    from fer_core.faces import video

    source = [im for p in sorted(rendered.rglob("*.MP4"))[:5] for im in video.frames(p)][:100]
    with av.open(str(tmp_path / "long.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=100, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 960, "yuv420p"
        for image in np.repeat(np.arange(len(source)), 4):
            frame = np.zeros((960, 1280, 3), np.uint8)
            frame[:, 160:1120] = cv2.resize(source[image], (960, 960))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "long.mp4")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    frames, mebibytes = done.stdout.split()
    assert int(frames) == 400, done.stderr
    assert float(mebibytes) < 500


@pytest.mark.slow
def test_a_view_is_made_by_several_processes_and_a_trial_finds_it(few, tmp_path):
    message = []
    prepared(few, tmp_path)
    asked = {"view": "frontal_soft", "clip": ClipConfig(), "engine": "data", "store": tmp_path}
    asked["falls_back"] = False

    for _ in range(2):
        find_faces.views(few, **asked, workers=2, progress=lambda *counts: message.append(counts))

    found = faces_stage.shards(few, "data", "cpu", Tally())
    made = list(zip(found, read_or_make(Store(tmp_path), found, Tally()), strict=True))
    tally = Tally()
    read_or_make(
        Store(tmp_path), views_stage.shards(made, ClipConfig(), "frontal_soft", None), tally
    )
    assert message == [(i + 1, len(found)) for i in range(len(found))]
    assert (tally.work.stages_made, tally.work.stages_read) == (0, len(found))
