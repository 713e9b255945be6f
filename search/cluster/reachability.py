"""Whether each machine of a cluster reaches the files that all of them need."""

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
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

_SECONDS = 60.0  # that a node may take to answer
_MOUNTED = {  # kinds of file system that several machines mount
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.juicefs", "fuse.mountpoint-s3",
    "fuse.s3fs", "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "wekafs",
}  # fmt: skip


def shared_store(settings: Settings, *, grows: bool) -> Path | SharedPlace:
    """Check that all machines reach what a study writes, and give the store as they share it.

    `grows`: whether machines may join that cannot be asked yet.

    Raises: FerError that names the option and the machine, and says what to do instead.
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
            raise FerError(_local(name, folder, "machines that join later"))
    store = settings.store
    own = store if isinstance(store, SharedPlace) else shared(store, settings.cache)
    return replace(own, leases=leases.connect(str(own)))


def unreached(study_data: StudyData, folder: Folder) -> str | None:
    """Say what a worker's machine does not see of that which it must: it may have joined late."""
    files = [Path(file) for file in (*study_data.weights.values(), study_data.surface) if file]
    missing = [str(path) for path in (folder.space, *files) if not path.exists()]
    if not missing:
        return None
    return (
        f"node {socket.gethostname()} does not see {missing[0]}; put it on a mount of "
        f"all machines, or results in s3://BUCKET/FOLDER, and --resume {folder.name}."
    )


def is_mounted(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a folder lies on a file system that other machines may mount too."""
    kinds = {}
    for line in mounts.read_text().splitlines():
        _, at, kind, *_ = line.split(" ")
        kinds[Path(at.replace("\\040", " "))] = kind
    real = folder.resolve()
    return next((kinds[path] for path in (real, *real.parents) if path in kinds), "") in _MOUNTED


def _others() -> list[dict[str, Any]]:
    """Give the machines besides this one."""
    here = ray.get_runtime_context().get_node_id()
    there: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray's
    return [node for node in there if node["Alive"] and node["NodeID"] != here]


@contextmanager
def _marked(folders: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Put a file into each folder for a while."""
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
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    look: Any = ray.remote(_look).options(num_cpus=0, scheduling_strategy=there)
    objects = [place for place in places.values() if isinstance(place, S3Path)]
    name = node["NodeManagerAddress"]
    try:
        unseen, missing, refused = ray.get(
            look.remote(list(marks.values()), files, objects), timeout=_SECONDS
        )
    except Exception as error:
        said = str(error).splitlines()[-1]
        raise ClusterError(f"node {name} does not answer: {said}") from error
    for option, mark in marks.items():
        if mark in unseen:
            raise FerError(_local(option, folders[option], f"node {name}"))
    if missing:
        raise FerError(
            f"file {missing[0]} is not on node {name}; put it there, or on a mount of all nodes."
        )
    if refused:
        raise FerError(f"node {name}: {refused}")


def _look(
    marks: list[Path], files: list[Path], objects: list[S3Path]
) -> tuple[list[Path], list[Path], str]:
    refused = ""
    for place in objects:
        try:
            place.check()
        except FerError as error:
            refused = str(error)
    unseen = [mark for mark in marks if not mark.exists()]
    return unseen, [file for file in files if not file.exists()], refused


def _local(option: str, folder: Path, who: str) -> str:
    return (
        f"--{option} {folder} is a folder of this machine, and {who} would not see it; give a "
        f"folder that all machines mount, or s3://BUCKET/FOLDER."
    )
