"""Read the leaderboard files of all studies of a dataset as one table.

`search.read_leaderboard` gives it to users, ranked by `ranking.py`. Files of older versions are
read as today's. pandas reads the files, too: `write_columns` makes it see all columns.
"""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.errors import FerError, unknown
from fer_core.storage.files import write_atomically
from fer_core.storage.formats import check_format
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.storage.s3_requests import at_once
from search.results.columns import FORMAT, FORMAT_KEY, schema

COLUMNS = "!columns.parquet"  # its name comes before those of all studies
_NEEDED = ("study", "trial", "source", "state")  # columns that boards of all versions have


def read(dataset: str, leaderboards: AnyPath) -> pd.DataFrame:
    """Read the files of all studies of a dataset; columns that an older file lacks are null.

    Raises: FerError where there is no leaderboard of that dataset, or where a file is damaged, was
        written by a newer version, or is no leaderboard.
    """
    if isinstance(leaderboards, S3Path):
        leaderboards.reach()
    files = board_files(leaderboards / dataset)
    if not files:
        found: list[AnyPath] = list(leaderboards.glob("*/*.parquet"))
        datasets = sorted({file.parent.name for file in found if file.name != COLUMNS})
        if not datasets:
            raise FerError(f"no leaderboard of '{dataset}': {leaderboards} holds none yet.")
        raise FerError(unknown("leaderboard of", dataset, datasets))
    read_tables = zip(files, at_once(read_file, files), strict=True)
    tables = [schema().empty_table().replace_schema_metadata(None)]
    tables += [_as_today(t, file) for file, t in read_tables]
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
    pruned = (frame["state"] == "pruned") & frame["val_uar"].notna()  # of an older file
    frame.loc[pruned, "val_uar_partial"] = frame.loc[pruned, "val_uar"]
    frame.loc[pruned, ["val_uar", "val_war", "val_macro_f1"]] = None
    return frame


def read_file(file: AnyPath) -> pa.Table:
    """Read a study's file, with the metadata of its schema.

    Raises: FerError where it is damaged or was written by a newer version.
    """
    try:
        table = pq.read_table(io.BytesIO(file.read_bytes()))
        found = int((table.schema.metadata or {}).get(FORMAT_KEY, b"1"))
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise FerError(f"the leaderboard {file} is damaged: {reason}") from error
    check_format(f"the leaderboard {file}", found, FORMAT)
    return table


def board_files(boards: AnyPath) -> list[AnyPath]:
    """List the files of all studies in a dataset's folder, in the order of their names."""
    files: list[AnyPath] = sorted(boards.glob("*.parquet"), key=str)
    return [file for file in files if file.name != COLUMNS]


def write_columns(boards: AnyPath) -> None:
    """Make pandas see all columns of a dataset's folder, where files of several versions lie.

    pandas takes the columns of the file whose name comes first, and drops those that only others
    have. So where the files differ, one without rows that has all their columns is put before them.
    It changes no other file: each belongs to its study, which may be at work.
    """
    schemas = [found for found in at_once(_schema, board_files(boards)) if found is not None]
    whole = schema()
    for field in (field for found in schemas for field in found if field.name not in whole.names):
        whole = whole.append(field)  # of a newer version, or of one that had other columns
    names, file = set(whole.names), boards / COLUMNS
    if all(set(found.names) == names for found in schemas):
        return
    noted = _schema(file) if file.is_file() else None
    if noted is not None and names <= set(noted.names):
        return
    content = io.BytesIO()
    pq.write_table(whole.empty_table(), content)
    write_atomically(file, content.getvalue())


def _schema(file: AnyPath) -> pa.Schema | None:
    """Read the columns of a file; None if it is no Parquet file."""
    try:
        return pq.read_schema(io.BytesIO(file.read_bytes()))
    except (pa.ArrowInvalid, OSError):
        return None


def _as_today(table: pa.Table, file: AnyPath) -> pa.Table:
    """Give the columns of a file the types that they have today.

    Raises: FerError where the file is no leaderboard.
    """
    lacking = [name for name in _NEEDED if name not in table.column_names]
    if lacking:
        raise FerError(f"{file} is no leaderboard: it has no column '{lacking[0]}'; move it away.")
    for field in schema():
        place = table.schema.get_field_index(field.name)
        if place < 0 or table.schema.field(place).type == field.type:
            continue
        try:
            table = table.set_column(place, field, table.column(place).cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise FerError(
                f"{file} is no leaderboard: its column '{field.name}' holds "
                f"{table.schema.field(place).type}, and not {field.type}; move it away."
            ) from error
    return table.replace_schema_metadata(None)
