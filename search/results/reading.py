"""Read the leaderboard files of all studies of a dataset as one table.

`search.read_leaderboard` gives it to users, ranked by `ranking.py`. Files of older versions are
read as today's.
"""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.errors import FerError, unknown
from fer_core.storage.formats import check_format
from fer_core.storage.paths import AnyPath, S3Path
from fer_core.storage.s3_requests import at_once
from search.results.columns import FORMAT, FORMAT_KEY, schema


def read(dataset: str, leaderboards: AnyPath) -> pd.DataFrame:
    """Read the files of all studies of a dataset; columns that an older file lacks are null.

    Raises: FerError where there is no leaderboard of that dataset, or where a file is damaged or
        was written by a newer version.
    """
    if isinstance(leaderboards, S3Path):
        leaderboards.reach()
    files: list[AnyPath] = sorted((leaderboards / dataset).glob("*.parquet"), key=str)
    if not files:
        datasets = sorted({path.parent.name for path in leaderboards.glob("*/*.parquet")})
        if not datasets:
            raise FerError(f"no leaderboard of '{dataset}': {leaderboards} holds none yet.")
        raise FerError(unknown("leaderboard of", dataset, datasets))
    read_tables = (table.replace_schema_metadata(None) for table in at_once(read_file, files))
    tables = [schema().empty_table(), *read_tables]
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
