import subprocess
import sys
from pathlib import Path

import pytest

from fer_core.errors import ClusterError
from search.cluster import connection

ROOT = Path(__file__).parents[3]
CONNECT = """
import resource, sys
from fer_core.errors import FerError
from search.cluster import connection

resource.setrlimit(resource.RLIMIT_NOFILE, (35, 35))
try:
    with connection.connected(connection.resolved("local")):
        pass
except FerError as error:
    print(error.exit_code, error)
"""


@pytest.fixture
def variable(tmp_path, monkeypatch):
    """Set RAY_ADDRESS on a machine where nobody has run `ray start`."""
    monkeypatch.setenv("RAY_TMPDIR", "/var/tmp")

    def set_(address):
        monkeypatch.setenv("RAY_ADDRESS", address)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return set_


@pytest.mark.parametrize("address", [None, "", "  ", "local", " local\n"])
def test_without_a_cluster_ray_starts_here(variable, address):
    if address is not None:
        variable(address)

    assert connection.resolved("auto") == "local"


def test_auto_in_the_variable_asks_for_a_cluster_as_ray_has_it(variable):
    variable("auto")

    with pytest.raises(ClusterError, match="RAY_ADDRESS is 'auto', and no Ray cluster runs on"):
        connection.resolved("auto")


def test_the_variable_is_named_where_it_is_wrong(variable):
    variable("http://head:8265")

    with pytest.raises(ClusterError, match=r"RAY_ADDRESS is 'http://head:8265', .* head:6379"):
        connection.resolved("auto")


def test_the_option_goes_before_the_variable(variable):
    variable("http://head:8265")

    assert connection.resolved("local") == "local"
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"):
        connection.resolved("127.0.0.1:9")


def test_an_ipv6_address_is_connected_to(variable):
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at \[::1\]:9: .*refused"):
        connection.resolved("[::1]:9")


@pytest.mark.slow
@pytest.mark.ray
def test_a_ray_that_cannot_start_is_one_line_that_says_what_it_may_lack():
    done = subprocess.run([sys.executable, "-c", CONNECT], cwd=ROOT, capture_output=True, text=True)

    (line,) = done.stdout.splitlines()
    assert line.startswith("6 Ray cannot start on this machine, with its files in ")
    assert line.endswith("this process may open 35 files only; raise `ulimit -n`")
