"""Find the Ray cluster that the user means, check that it answers, and connect to it.

`search/session/` calls `resolved` first, which fails within seconds if the named cluster does not
answer or no Ray can be started here, and then works inside `connected`. Without a cluster, Ray
starts one of its own on this machine.
"""

from search.cluster import ray_settings  # isort: skip  # before Ray is imported

import atexit
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import ray  # isort: skip  # before psutil, which comes with it
import psutil  # type: ignore[import-untyped]
from ray._private.services import ConsolePopen

from fer_core.errors import ClusterError, FerError
from fer_core.machine import allowed_cores
from fer_core.storage import signals
from search.cluster import runtime_env
from search.request import address as addresses
from search.study import disk

_HEALTH_SECONDS = 20.0
_LEAST_BYTES = 100e6  # with less, a Ray that does not start may lack space for its logs and sockets
_LEAST_FILES = 1024  # likewise, open files; Linux allows 4096 or more by default
_START = "start one with `ray start --head`, or use --address local"


def resolved(address: str) -> str:
    """Return where to connect: "local", or the address of a cluster that answers.

    Raises: ClusterError where `address` names a cluster that does not answer, and where Ray would
        have no folder on this machine.
    """
    named, given = addresses.read(address, "--address"), "--address"
    if named == "auto" and (variable := os.environ.get("RAY_ADDRESS", "").strip()):
        named, given = addresses.read(variable, "RAY_ADDRESS"), "RAY_ADDRESS"
    if named == "auto":
        named = _started_here() or "local"
        if named == "local" and given == "RAY_ADDRESS":  # as Ray has it
            raise ClusterError(
                f"RAY_ADDRESS is 'auto', and no Ray cluster runs on this machine; {_START}."
            )
    elif named != "local":
        _check_answers(named)
    if named == "local":
        ray_settings.folder()
    return named


@contextmanager
def connected(address: str) -> Iterator[str]:
    """Connect to an address that `resolved` returned, and disconnect when the context ends.

    Yields a description of what it is connected to. Where this process is connected already, it
    stays so, and so it does when it is interrupted: then it must end soon.

    Raises: ClusterError where the cluster refuses the connection, or Ray cannot start here.
    """
    description = f"the cluster at {address}"
    if address == "local":
        description = f"a Ray of its own on this machine{ray_settings.folder_text()}"
    if ray.is_initialized():
        yield description
        return
    with redirect_stdout(sys.stderr):  # Ray prints to stdout, which is for data
        _init(address)
        try:
            yield description
        except KeyboardInterrupt:
            _abandon()
            raise
        except BaseException:
            _disconnect()
            raise
        _disconnect()


def _init(address: str) -> None:
    """Start Ray on this machine, or connect to a cluster.

    A signal that ends this process does not reach the processes of a local Ray: without them the
    driver would end at once, before it has said how to go on.
    """
    for name in ("ray", "ray.tune"):
        # What matters of their messages is in the parts and the failures.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    local = address == "local"
    options: dict[str, Any] = {"runtime_env": runtime_env.environment()}
    if local:
        options = {"num_cpus": allowed_cores(), "include_dashboard": False}
        options["_temp_dir"] = str(ray_settings.folder())
        # Ray would send SIGTERM first, which does not reach them, and wait a second for each.
        ConsolePopen.terminate = ConsolePopen.kill  # type: ignore[method-assign]
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        with signals.unreached() if local else nullcontext():
            try:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    **options,
                )
            finally:
                signal.signal(signal.SIGTERM, on_term)  # Ray's own would end the driver at once
    except SystemExit as error:  # Ray's own handler ran
        raise KeyboardInterrupt from error
    except Exception as error:  # Ray has no common type for what may go wrong here
        raise ClusterError(_refusal(address, error)) from error


def _disconnect() -> None:
    """Disconnect, and end all processes of a local Ray.

    Ray then lets SIGTERM end this process at once, behind Python's back; our handler takes over
    again.
    """
    on_term = signal.getsignal(signal.SIGTERM)
    started, theirs = _processes_of_ray()
    ray.shutdown()
    signal.signal(signal.SIGTERM, on_term)
    for process in (*started, *theirs):  # Ray's agents would wait before they follow the others
        with suppress(psutil.Error):
            process.kill()


def _abandon() -> None:
    """Leave Ray as it is, since an interrupted driver ends within seconds, and Ray with it.

    While Ray disconnects, also at the end of the process, a second signal would end this process
    before it has said how to go on. So it never disconnects. The processes of a local Ray have
    started others, the workers. Those are killed here, because Ray would wait for them. Ray's own
    processes are suspended first: they would see their workers die, and end the driver.
    """
    atexit.register(_end)  # what is registered last is called first, before Ray's own
    started, theirs = _processes_of_ray()
    for process in started:
        with suppress(psutil.Error):
            process.suspend()
    for process in theirs:
        with suppress(psutil.Error):
            process.kill()


def _end() -> None:
    sys.stdout.flush()
    os._exit(signals.INTERRUPTED)


def _processes_of_ray() -> tuple[list[Any], list[Any]]:
    """List the processes that Ray started for this driver, and those that they started."""
    started: list[Any] = []
    theirs: list[Any] = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if any("ray/session_" in word for word in child.cmdline()):
                started.append(child)
                theirs += child.children(recursive=True)
    return started, theirs


def _refusal(address: str, error: Exception) -> str:
    """Say why Ray could not be started or connected to."""
    if address != "local":
        reason = " ".join(str(error).split())[:300]
        return f"the Ray cluster at {address} cannot be used: {reason}"
    if isinstance(error, OSError) and disk.is_full(error):
        reason = disk.full_disk_message(error)
    elif isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        reason = " ".join(str(error).split())[:300]
    place = ray_settings.folder()
    return f"Ray cannot start on this machine, with its files in {place}: {reason}{_scarce(place)}"


def _scarce(place: Path) -> str:
    """Say what Ray may lack, which its own messages do not tell; "" if it seems to have all."""
    free = shutil.disk_usage(next(each for each in (place, *place.parents) if each.exists())).free
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lacks = [
        f"only {free / 1e6:.0f} MB are free there; set RAY_TMPDIR to a folder on a larger disk"
        if free < _LEAST_BYTES
        else "",
        f"this process may open {files} files only; raise `ulimit -n`"
        if files < _LEAST_FILES
        else "",
    ]
    return "".join(f"; {each}" for each in lacks if each)


def _started_here() -> str | None:
    """Return the address of the cluster that this machine belongs to; None if there is none.

    Ray's own "auto" also finds local instances that other users started on this machine, and waits
    long for a cluster that is gone. So we read the file that `ray start` leaves ourselves.
    """
    try:
        named = (ray_settings.default_folder() / "ray_current_cluster").read_text()
        address = addresses.read(named, "ray_current_cluster")
        _check_answers(address)
    except (OSError, FerError):
        return None
    return address


def _check_answers(address: str) -> None:
    """Check that a Ray cluster answers at HOST:PORT within seconds.

    Raises: ClusterError if it does not.
    """
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        socket.create_connection(addresses.parts(address), 5).close()
        # Another service may listen there; `ray.init` would wait minutes for it to be Ray.
        done = subprocess.run(command, timeout=_HEALTH_SECONDS, capture_output=True, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        silent = isinstance(error, subprocess.TimeoutExpired)
        reason = "the service that listens there is not Ray" if silent else str(error)
        raise ClusterError(_no_answer(address, reason)) from error
    if done.returncode:
        raise ClusterError(_no_answer(address, done.stderr.strip().splitlines()[-1][:300]))


def _no_answer(address: str, reason: str) -> str:
    return f"no Ray cluster answers at {address}: {reason}; {_START}."
