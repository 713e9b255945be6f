"""All datasets that this project can read, in one table; each has a file of its own here.

`load` reads the user's copy of a dataset into a manifest. To add a dataset, write a file with a
`DATASET` as the others do, and give it a row in DATASETS. The commands in `search` take the choices
of `--dataset` from this table.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fer_core.data import subjects
from fer_core.data.dataset import Dataset
from fer_core.data.datasets import (
    affectnet,
    ck_plus,
    dfew,
    fer2013,
    ferplus,
    folder,
    jaffe,
    kdef,
    mmi,
    oulu_casia,
    raf_db,
    sase_fe,
    synthetic,
)
from fer_core.data.datasets.folder_rules import COLUMNS, Rules
from fer_core.data.manifest import Manifest
from fer_core.data.other_files import others
from fer_core.data.tables import subject_table as subject_rows
from fer_core.errors import DataError, FerError, unknown

DATASETS: dict[str, Dataset] = {
    "affectnet": affectnet.DATASET,
    "ck_plus": ck_plus.DATASET,
    "dfew": dfew.DATASET,
    "fer2013": fer2013.DATASET,
    "ferplus": ferplus.DATASET,
    "folder": folder.DATASET,
    "jaffe": jaffe.DATASET,
    "kdef": kdef.FRONTAL,
    "kdef_all": kdef.ALL,
    "mmi": mmi.DATASET,
    **oulu_casia.DATASETS,
    "raf_db": raf_db.ORIGINAL,
    "raf_db_aligned": raf_db.ALIGNED,
    "sase_fe": sase_fe.DATASET,
    "synthetic": Dataset(manifest=synthetic.manifest),
}


def load(
    name: str,
    root: Path,
    *,
    subject_pattern: str | None = None,
    columns: Mapping[str, str] | None = None,
    subject_table: str | Path | None = None,
) -> Manifest:
    """Read a dataset from the folder `root` into its manifest.

    The rest is what the user says of their own files. `subject_pattern` finds the subject in the
    path of each file; `columns` says what a table calls our columns; `subject_table` names the
    subject of each clip, and lies below `root` unless its path is absolute.

    Raises: DataError if there is no such dataset, or the folder does not hold it; FerError if the
        dataset cannot be read in that way.
    """
    check_rules(name, subject_pattern, columns, subject_table)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the folder that holds the dataset '{name}'.")
    table = root / subject_table if subject_table is not None else None
    try:
        if not any(root.iterdir()):
            raise DataError(f"{root} is empty; give the folder that holds the dataset '{name}'.")
        if name == subjects.FOLDER:
            pattern = None if subject_pattern is None else subjects.pattern(subject_pattern, name)
            rules = Rules(pattern=pattern, columns=columns or {}, subjects=table)
            manifest = folder.manifest(root, rules)
        else:
            manifest = DATASETS[name].manifest(root)
            if table is not None:
                manifest = subject_rows.apply(manifest, table, columns or {})
        return replace(manifest, aside=others(manifest))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error


def check_rules(
    name: str,
    subject_pattern: str | None = None,
    columns: Mapping[str, str] | None = None,
    subject_table: str | Path | None = None,
) -> None:
    """Refuse what the user says of their own files where the dataset says it itself.

    Raises: FerError that names the option; DataError if there is no such dataset.
    """
    if name not in DATASETS:
        raise DataError(unknown("dataset", name, DATASETS))
    if subject_pattern is not None:
        subjects.pattern(subject_pattern, name)
    if subject_pattern is not None and subject_table is not None:
        raise FerError("--subjects and --subject-pattern both name the subjects; give one of them.")
    if subject_table is not None and name != subjects.FOLDER and not DATASETS[name].anonymous:
        raise FerError(
            f"--subjects is for a dataset that does not say who its subjects are; '{name}' does."
        )
    if columns and name != subjects.FOLDER and subject_table is None:
        raise FerError(
            f"--column is for the dataset '{subjects.FOLDER}', and for the table of --subjects; "
            f"'{name}' has columns of its own."
        )
    for column in columns or {}:
        if column not in COLUMNS and column != "authenticity":
            raise FerError(f"--column: {unknown('column', column, [*COLUMNS, 'authenticity'])}")
