"""Find the Ray cluster that the user means, check that it answers, and connect to it.

`search/session/` calls `resolved` first, which fails within seconds if the named cluster does not
answer, and then works inside `connected`. Without a cluster, Ray starts one of its own on this
machine.
"""

from search.cluster import ray_settings  # noqa: F401  # isort: skip  # before Ray is imported

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import ray

from fer_core.errors import ClusterError, FerError
from search.cluster import runtime_env

_HEALTH_SECONDS = 20.0
_PORT = 6379  # Ray's default


def resolved(address: str) -> str:
    """Return where to connect: "local", or the address of a cluster that answers.

    Raises: ClusterError where `address` names a cluster that does not answer.
    """
    if address == "local":
        return "local"
    if address != "auto":
        return _answering(address)
    if named := os.environ.get("RAY_ADDRESS"):
        return "local" if named == "local" else _answering(named)
    # Ray's own "auto" also finds local instances that other users started on this machine, and
    # waits long for a cluster that is gone. So we read the file that `ray start` leaves ourselves.
    started = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray/ray_current_cluster"
    try:
        return _answering(started.read_text().strip())
    except (OSError, FerError):
        return "local"


@contextmanager
def connected(address: str) -> Iterator[str]:
    """Connect to an address that `resolved` returned, and disconnect when the context ends.

    Yields a description of what it is connected to. Where this process is connected already, it
    stays so.

    Raises: ClusterError where the cluster refuses the connection.
    """
    local = address == "local"
    description = "a Ray of its own on this machine" if local else f"the cluster at {address}"
    if ray.is_initialized():
        yield description
        return
    with redirect_stdout(sys.stderr):  # Ray prints to stdout, which is for data
        _init(address)
        try:
            yield description
        finally:
            ray.shutdown()


def _init(address: str) -> None:
    for name in ("ray", "ray.tune"):
        # What matters of their messages is in the parts and the failures.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            include_dashboard=False if address == "local" else None,
            runtime_env=None if address == "local" else runtime_env.environment(),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"the Ray cluster at {address} cannot be used: {reason}") from error
    signal.signal(signal.SIGTERM, on_term)  # Ray's own handler would end the driver at once


def _answering(address: str) -> str:
    """Return an address with its port, if a Ray cluster answers there within seconds."""
    host, _, port = address.rpartition(":")
    full = address if host else f"{address}:{_PORT}"
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", full]
    try:
        socket.create_connection((host or address, int(port if host else _PORT)), 5).close()
        # Another service may listen there; `ray.init` would wait minutes for it to be Ray.
        done = subprocess.run(command, timeout=_HEALTH_SECONDS, capture_output=True, text=True)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        silent = isinstance(error, subprocess.TimeoutExpired)
        reason = "the service that listens there is not Ray" if silent else str(error)
        raise ClusterError(_no_answer(address, reason)) from error
    if done.returncode:
        raise ClusterError(_no_answer(address, done.stderr.strip().splitlines()[-1][:300]))
    return full


def _no_answer(address: str, reason: str) -> str:
    start = "start one with `ray start --head`, or use --address local"
    return f"no Ray cluster answers at {address}: {reason}; {start}."
