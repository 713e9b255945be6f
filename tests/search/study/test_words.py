import pytest

from search.study.words import counted


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 subjects"), (1, "1 subject"), (2, "2 subjects")]
)
def test_one_thing_is_counted_in_the_singular(count, words):
    assert counted(count, "subject") == words
