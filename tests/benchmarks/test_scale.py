"""The benchmark of scale, tiny: it runs, and its figures are what they say."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.ray


@pytest.fixture
def scale():
    spec = importlib.util.spec_from_file_location(
        "benchmarks.scale", ROOT / "benchmarks" / "scale.py"
    )
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        patch.setitem(sys.modules, "benchmarks.scale", module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.slow
def test_trials_that_sleep_give_a_throughput_and_what_the_driver_took(scale):
    ratios = scale.measured(
        workers=(1, 2), seconds=0.3, trials_each=3, many=6, many_workers=2, many_seconds=0.2
    )

    shares = {ratio.name: ratio.value for ratio in ratios}
    assert shares["1 workers against linear"] == 1
    assert 0 < shares["2 workers against linear"] < 2
    assert 0 < shares["the driver's cores"] < 3
    assert 0.05 < shares["the driver's memory"] < 4
