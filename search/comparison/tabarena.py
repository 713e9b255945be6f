"""Write the errors of compared rows as TabArena reads them: method, task, seed and error.

TabArena's `bencheval` ranks methods over many tasks from such rows. It names the last column
`metric_error`, and takes ours as `TabArena(error_col="error", seed_column="seed")`.
"""

import csv
import io

from search.comparison.comparison import Comparison

COLUMNS = ("method", "task", "seed", "error")


def text(comparison: Comparison) -> str:
    """Give a CSV file with one line for each row and fold.

    `error` is 1 - UAR of a fold, and `seed` is the number of the fold; a sealed test has a single
    one. `task` is the dataset and what is recognised, such as `oulu_casia/emotion`.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for found in comparison.datasets:
        for row in found.rows:
            for fold, uar in enumerate(row.fold_uars):
                writer.writerow((row.method, f"{found.dataset}/{found.task}", fold, 1 - uar))
    return file.getvalue()
