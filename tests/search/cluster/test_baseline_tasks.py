import io
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from search.cluster import baseline_tasks, tuner
from search.screen.progress import Progress


@pytest.mark.slow
@pytest.mark.ray
def test_a_baseline_holds_no_gpu_even_where_heads_have_a_share_of_one(folder):
    def scoring(study_data, folder, number, threads):
        return f"held {ray.get_runtime_context().get_assigned_resources()}"

    console = Console(file=io.StringIO(), width=200)
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        started = baseline_tasks.start(
            ["emotion"],
            SimpleNamespace(protocol=SimpleNamespace(sealed=())),
            folder,
            tuner.divide_cluster(1, None),
            scoring=scoring,
        )
        baseline_tasks.finish(started, Progress(console=console))
    finally:
        ray.shutdown()

    printed = console.file.getvalue()
    assert printed.count("held {'CPU': 1.0}") == 3
