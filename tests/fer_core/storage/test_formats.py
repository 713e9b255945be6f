"""Test the check of format numbers: known ones pass; newer and damaged ones are refused by name."""

import pytest

from fer_core.errors import FerError
from fer_core.storage.formats import check_format


@pytest.mark.parametrize("found", [1, 2])
def test_a_format_up_to_the_newest_is_read(found: int) -> None:
    check_format("The file x.json", found, 2)


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(FerError) as refused:
        check_format("The file x.json", 3, 2)
    assert str(refused.value) == (
        "The file x.json has format 3; this version of fer-search reads formats up to 2."
        " Update fer-search to read it."
    )


@pytest.mark.parametrize("found", [0, -1, True, "2", 2.0, None])
def test_a_damaged_format_number_is_refused_by_name(found: object) -> None:
    with pytest.raises(FerError, match=r"^The file x\.json has a damaged format number: "):
        check_format("The file x.json", found, 2)
