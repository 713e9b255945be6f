import itertools
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import FerError
from fer_core.storage import paths, s3_requests
from fer_core.storage.files import write_atomically
from fer_core.storage.paths import S3Path

NAMES = st.text("abcdefgh0123456789-_.", min_size=1, max_size=8).filter(lambda n: n.strip("."))
ODD = ["s3://lab/my boards", "s3://lab/x#y", "s3://lab/%41", "s3://lab/bögen", "s3://lab/../x"]


def test_a_folder_is_a_path():
    assert paths.parse("runs/store") == Path("runs/store")


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_what_is_said_of_a_place_in_s3_names_it_again(names):
    place = paths.parse("s3://" + "/".join(names))

    assert paths.parse(str(place)) == place


def test_the_options_of_an_address_stay_behind_its_folders():
    place = paths.parse("s3://lab/x?endpoint_override=http%3A%2F%2F10.0.0.1%3A9000") / "y.json"

    assert str(place) == "s3://lab/x/y.json?endpoint_override=http%3A%2F%2F10.0.0.1%3A9000"
    assert (place.name, place.stem, place.parent.name) == ("y.json", "y", "x")


@pytest.mark.parametrize("text", ["gs://lab/x", "http://lab/x"])
def test_what_is_neither_a_folder_nor_s3_is_refused(text):
    with pytest.raises(FerError, match="give a folder, or s3://BUCKET/FOLDER"):
        paths.parse(text)


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(FerError, match="names no bucket"):
        paths.parse("s3:///x")


@pytest.mark.parametrize("text", ODD)
def test_a_name_that_others_would_read_differently_is_refused(text):
    with pytest.raises(FerError, match="letters, digits and"):
        paths.parse(text)


@pytest.mark.parametrize("text", ["s3://lab//x", "s3://lab/x/", "s3://lab/x"])
def test_slashes_too_many_change_nothing(text):
    assert str(paths.parse(text)) == "s3://lab/x"


def test_what_is_interrupted_is_written_whole(bucket):
    place, threads = bucket / "study.json", threading.active_count()
    place.write_bytes(b"old")
    for delay in (0.0, 0.0003, 0.001, 0.003):
        before = signal.signal(signal.SIGALRM, _interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, delay or 1e-6)
            place.write_bytes(b"new" * 1000)
            time.sleep(0.01)
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGALRM, before)
        assert place.read_bytes() in (b"old", b"new" * 1000)
    until = time.monotonic() + 10
    while threading.active_count() > threads + 2:  # moto's own may linger
        assert time.monotonic() < until, "threads are left"
        time.sleep(0.05)


@pytest.mark.slow
def test_what_is_replaced_while_it_is_read_is_read_whole(bucket):
    place, done = bucket / "claim.json", threading.Event()

    def replace():
        for turn in itertools.takewhile(lambda turn: not done.is_set(), itertools.count(1)):
            place.write_bytes(_numbered(turn))

    place.write_bytes(_numbered(0))
    with ThreadPoolExecutor(1) as alone:
        alone.submit(replace)
        try:
            read = [place.read_bytes() for _ in range(200)]
        finally:
            done.set()

    assert len(set(read)) > 10
    assert all(content == _numbered(int(content.partition(b" ")[0])) for content in read)


def _numbered(turn):
    return f"{turn} ".encode() + b"x" * (turn * 7919 % 30_000)


def _interrupt(number, frame):
    raise KeyboardInterrupt


def test_what_is_written_is_read(bucket):
    write_atomically(bucket / "a" / "b.json", b"1")
    write_atomically(bucket / "a" / "b.json", b"22")

    assert (bucket / "a" / "b.json").read_bytes() == b"22"
    assert (bucket / "a" / "b.json").is_file()
    assert (bucket / "a").is_dir()


def test_what_is_not_there_is_missed_as_in_a_folder(bucket):
    with pytest.raises(FileNotFoundError):
        (bucket / "none").read_bytes()
    with pytest.raises(FileNotFoundError):
        (bucket / "none").unlink()
    (bucket / "none").unlink(missing_ok=True)

    assert not (bucket / "none").exists()
    assert list(bucket.glob("*")) == []


def test_a_pattern_finds_what_lies_at_its_depth(bucket, tmp_path):
    for name in ("x/study.json", "y/study.json", "y/parts/1.json", "y/parts/2.npz", "study.json"):
        write_atomically(bucket / name, b"{}")
        write_atomically(tmp_path / name, b"{}")

    for pattern in ("*/study.json", "*/parts/*.json", "*.json", "y/parts/*"):
        in_s3 = {str(found).removeprefix(f"{bucket}/") for found in bucket.glob(pattern)}
        assert in_s3 == {str(found.relative_to(tmp_path)) for found in tmp_path.glob(pattern)}


def test_a_bucket_that_is_not_there_is_said_at_once(s3_server):
    place = S3Path("no-such-bucket", PurePosixPath("x"))

    with pytest.raises(FerError, match="s3://no-such-bucket/x cannot be used"):
        place.check()
    with pytest.raises(FerError, match="cannot be used"):
        place.write_bytes(b"")


@pytest.mark.parametrize("status", [301, 400])  # in another region; with a token that has expired
def test_what_no_waiting_mends_is_said_at_once(bucket, status):
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(FerError, match=r"s3://lab/x.* cannot be used"):
                S3Path("lab", PurePosixPath("x"), options).read_bytes()
        finally:
            server.shutdown()


@pytest.mark.slow
def test_an_interrupt_ends_many_requests_that_wait():
    nowhere = S3Path("lab", PurePosixPath("x"), "?scheme=http&endpoint_override=127.0.0.1:1")
    signal_before = signal.signal(signal.SIGALRM, _interrupt)
    threads, began = threading.active_count(), time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 10)
        with pytest.raises(KeyboardInterrupt):
            s3_requests.at_once(S3Path.read_bytes, [nowhere / str(n) for n in range(100)])
    finally:
        signal.signal(signal.SIGALRM, signal_before)

    assert time.monotonic() - began < 60
    while threading.active_count() > threads:
        assert time.monotonic() - began < 120, "threads still wait"
        time.sleep(0.1)


@pytest.mark.slow
def test_an_s3_that_is_gone_is_waited_for_and_said(bucket, s3_server, monkeypatch):
    heard = []
    monkeypatch.setattr(s3_requests.OUTAGES, "print", heard.append)
    (bucket / "before").write_bytes(b"kept")
    s3_server.stop()
    threading.Timer(10.0, s3_server.start).start()  # pyarrow itself tries for 6 s
    began = time.monotonic()

    (bucket / "after").write_bytes(b"written")

    assert time.monotonic() - began >= 9.0
    assert (bucket / "before").read_bytes() == b"kept"
    assert (bucket / "after").read_bytes() == b"written"
    assert len(heard) == 2
    assert f"s3://{bucket.bucket} does not answer, waiting" in heard[0]
    assert "answers again, after" in heard[1]


@pytest.mark.slow
def test_an_s3_that_does_not_answer_is_refused_when_it_is_checked(bucket, s3_server):
    s3_server.stop()
    try:
        with pytest.raises(FerError, match=r"cannot be used: .*onnect"):
            bucket.check()
    finally:
        s3_server.start()
