import pytest

from fer_core.errors import FerError
from search.request.data import checked_split
from search.study.options import Options
from tests.search.request.test_sides import manifest

LOSO = {"space": "toy.py", "dataset": "jaffe", "protocol_name": "loso", "task": "emotion"}


def test_repeats_are_refused_where_a_protocol_seals_nobody():
    data = manifest(10)

    assert checked_split(data, Options(**LOSO)).sealed == ()
    with pytest.raises(FerError, match=r"--repeats 3 .* protocol 'loso' of jaffe seals no subject"):
        checked_split(data, Options(**LOSO, repeats=3))
