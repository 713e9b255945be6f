"""Check that each machine of a cluster can reach the files that a study needs.

`search/session/` calls `shared_store` before a study starts, so that a folder which only one
machine has is refused at once. A worker calls `missing_file_message` on its own machine, which may
have joined later.
"""

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_core.data.study_data import StudyData
from fer_core.errors import ClusterError, FerError
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.storage.shared_store import SharedPlace
from search.cluster import leases
from search.request.settings import Settings, shared
from search.study.folder import Folder

_SECONDS = 60.0  # time that a node has to answer
_MOUNTED = {  # kinds of file system that several machines can mount
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.juicefs", "fuse.mountpoint-s3",
    "fuse.s3fs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "wekafs",
}  # fmt: skip


def shared_store(settings: Settings, *, grows: bool) -> Path | SharedPlace:
    """Check that all machines reach what a study reads and writes, and return the store to use.

    On one machine this is the store of the settings. On several it is a shared store, in which one
    machine at a time computes an entry. `grows`: whether machines may join later, which cannot be
    asked yet.

    Raises: FerError that names the option and the machine, and what to do instead.
    """
    places: dict[str, AnyPath] = {
        "store": settings.store.place
        if isinstance(settings.store, SharedPlace)
        else settings.store,
        "studies": settings.studies,
        "leaderboards": settings.leaderboards,
    }
    for place in places.values():
        if isinstance(place, S3Path):
            place.check()
    others = _others() if ray.is_initialized() else []
    if not others and not grows:
        return settings.store
    folders = {name: place for name, place in places.items() if isinstance(place, Path)}
    options = settings.options
    files = [Path(file) for file in (*options.weights.values(), options.surface) if file]
    with _marked(folders) as marks:
        for node in others:
            _check_node(node, folders, marks, files, places)
    for name, folder in folders.items():
        if not others and not is_mounted(folder):
            raise FerError(_local_folder(name, folder, "machines that join later"))
    store = settings.store
    own = store if isinstance(store, SharedPlace) else shared(store, settings.cache)
    return replace(own, leases=leases.connect(str(own)))


def missing_file_message(study_data: StudyData, folder: Folder) -> str | None:
    """Name a file that this worker's machine must see and does not; None if it sees all."""
    files = [Path(file) for file in (*study_data.weights.values(), study_data.surface) if file]
    missing = [str(path) for path in (folder.space, *files) if not path.exists()]
    if not missing:
        return None
    return (
        f"node {socket.gethostname()} does not see {missing[0]}; put it into a folder that all "
        f"machines mount, or the study into s3://BUCKET/FOLDER, then --resume {quote(folder.name)}."
    )


def is_mounted(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Return whether a folder is on a file system that other machines may mount too."""
    kinds = {}
    for line in mounts.read_text().splitlines():
        _, mount_point, kind, *_ = line.split(" ")
        kinds[Path(mount_point.replace("\\040", " "))] = kind
    real = folder.resolve()
    return next((kinds[path] for path in (real, *real.parents) if path in kinds), "") in _MOUNTED


def _others() -> list[dict[str, Any]]:
    """Return the cluster's machines other than this one."""
    here = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    return [node for node in nodes if node["Alive"] and node["NodeID"] != here]


@contextmanager
def _marked(folders: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Put a file into each folder, which other machines look for while the context lasts."""
    mark = f".seen-{secrets.token_hex(4)}"
    marks = {name: folder / mark for name, folder in folders.items()}
    try:
        for path in marks.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        yield marks
    finally:
        for path in marks.values():
            path.unlink(missing_ok=True)


def _check_node(
    node: Mapping[str, Any],
    folders: Mapping[str, Path],
    marks: Mapping[str, Path],
    files: list[Path],
    places: Mapping[str, AnyPath],
) -> None:
    """Look for the marks and files on one node.

    Raises: FerError that names what the node cannot reach.
    """
    on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look: Any = ray.remote(_look).options(num_cpus=0, scheduling_strategy=on_node)
    in_s3 = [place for place in places.values() if isinstance(place, S3Path)]
    name = node["NodeManagerAddress"]
    try:
        unseen, missing, refused = ray.get(
            look.remote(list(marks.values()), files, in_s3), timeout=_SECONDS
        )
    except Exception as error:
        reason = str(error).splitlines()[-1]
        raise ClusterError(f"node {name} does not answer: {reason}") from error
    for option, mark in marks.items():
        if mark in unseen:
            raise FerError(_local_folder(option, folders[option], f"node {name}"))
    if missing:
        raise FerError(
            f"file {missing[0]} is not on node {name}; put it there, or into a folder that all "
            "machines mount."
        )
    if refused:
        raise FerError(f"node {name}: {refused}")


def _look(
    marks: list[Path], files: list[Path], in_s3: list[S3Path]
) -> tuple[list[Path], list[Path], str]:
    """Look from this machine: unseen marks, missing files, and why a place in S3 is refused."""
    refused = ""
    for place in in_s3:
        try:
            place.check()
        except FerError as error:
            refused = str(error)
    unseen = [mark for mark in marks if not mark.exists()]
    return unseen, [file for file in files if not file.exists()], refused


def _local_folder(option: str, folder: Path, who: str) -> str:
    return (
        f"--{option} {folder} is a folder of this machine, and {who} would not see it; give a "
        f"folder that all machines mount, or s3://BUCKET/FOLDER."
    )
