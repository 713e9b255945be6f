"""Try the splits that a study of a dataset could use: the project's own, and published ones.

`checkup` reports whether this copy of the dataset can follow them, and which subjects are on which
side.
"""

from collections.abc import Callable

from fer_core.data import datasets, protocol
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.errors import DataError
from search.checkup.report import Split
from search.request import data
from search.screen import sides
from search.study.options import SEALED

_SEALED = "a sealed fifth of the subjects, and five grouped folds of the others"


def tried(manifest: Manifest, task: str | None, chosen: str) -> tuple[Split, ...]:
    """Try the chosen protocol, which comes first, and all others of the dataset."""
    learned = task or data.default_task(manifest)
    published = datasets.DATASETS[manifest.dataset].protocols
    about = {SEALED: _SEALED} | {name: each.about for name, each in published.items()}

    def one(name: str) -> Split:
        try:
            protocol.check(made := _split(manifest, learned, name), manifest)
            of_sides = tuple(sides.lines(made, manifest, learned))
        except DataError as error:
            return Split(name=name, about=about[name], unfit=str(error))
        return Split(name=name, about=about[name], unfit=None, sides=of_sides)

    return tuple(map(one, dict.fromkeys((chosen, *about))))


def side_of(manifest: Manifest, task: str | None, chosen: str) -> Callable[[str], str]:
    """Give the function that names a subject's side in the chosen protocol.

    If the dataset cannot follow it, each subject is a side of its own.
    """
    try:
        split = _split(manifest, task or data.default_task(manifest), chosen)
    except DataError:
        return lambda subject: f"subject {subject}"
    named = {"sealed": split.sealed} | {f"fold {i}": f for i, f in enumerate(split.folds, start=1)}
    named |= {"train": split.train}
    side = {subject: name for name, people in named.items() for subject in people}
    return lambda subject: side.get(subject, f"subject {subject}")


def _split(manifest: Manifest, task: str, name: str) -> Protocol:
    """Split the subjects as a protocol says; SEALED is the project's own.

    Raises: DataError if the dataset cannot follow it.
    """
    published = datasets.DATASETS[manifest.dataset].protocols
    if name != SEALED:
        return published[name].split(manifest)
    return data.split_subjects(manifest, task, seed=0)
