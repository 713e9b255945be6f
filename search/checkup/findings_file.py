"""Write all findings of a checkup into a CSV file.

The screen shows a few of each kind only. `search.doctor` names the file there.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from fer_core.storage.files import write_atomically
from search.checkup.report import Finding

COLUMNS = ("kind", "path", "reason")


def write(file: Path, findings: Iterable[Finding]) -> None:
    """Write or replace the file, a line for each finding. Names that are no UTF-8 stay as they are.

    Raises: OSError if it cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    table.writerows((finding.kind, finding.path, finding.reason) for finding in findings)
    write_atomically(file, text.getvalue().encode("utf-8", "surrogateescape"))
