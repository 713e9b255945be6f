from collections import Counter

import pytest

from fer_core.config import from_json
from fer_core.errors import FerError
from search.drawing import families as families_module
from search.drawing import space as spaces
from search.drawing.draws import Draws, foreseen
from search.drawing.families import Families
from search.drawing.redraws import RedrawnError
from search.drawing.suited import suited
from search.study.journal import Journal
from search.study.journal_backends import file_storage


@pytest.fixture(autouse=True)
def _learns_from_fewer_draws(monkeypatch):
    """Sixty draws show the three families, and take a tenth of the time."""
    monkeypatch.setattr(families_module, "LEARNED", 60)


@pytest.fixture
def suits(three_families, photographs):
    return suited(three_families, photographs)


def journal_of(folder, space, least):
    families = Families(space, seed=0, least=least)
    return Journal(
        folder, file_storage(folder), Draws(seed=0, first=space.first, families=families)
    )


def drive(folder, space, make_result, *, least, trials, killed_at=()):
    """Let points that vote do best, so that the sampler would follow them."""
    journal = journal_of(folder, space, least)
    while len(journal.finished()) < trials:
        if len(journal.finished()) in killed_at:
            killed_at = killed_at[1:]
            journal.ask()
            journal = journal_of(folder, space, least)
            journal.reconcile()
        trial = journal.ask()
        try:
            config = journal.draw(trial, space)
        except RedrawnError:
            continue
        uars = (0.9 if config.recurrent is None else 0.5,) * 2
        journal.finish(make_result(trial.number, uars=uars, config=config))
    return [from_json(result.config_json) for result in journal.finished()]


def test_each_family_gets_its_trials_before_the_sampler_chooses(folder, suits, make_result):
    configs = drive(folder, suits, make_result, least=4, trials=24)

    first = Counter(config.family for config in configs[:12])
    assert first == {"geometry": 4, "geometry+gru": 4, "geometry+lstm": 4}
    assert [config.family for config in configs[:4]] == [
        "geometry",  # FIRST counts for its family
        "geometry+gru",
        "geometry+lstm",
        "geometry",
    ]
    assert len(set(configs)) == 24


def test_a_family_that_cannot_work_with_the_data_gets_none(suits):
    assert Families(suits, seed=0, least=1).names == ("geometry", "geometry+gru", "geometry+lstm")


def test_a_killed_study_gives_each_family_the_configs_that_it_would_have_had(
    folder, suits, make_result, tmp_path
):
    (tmp_path / "killed").mkdir()

    whole = drive(folder, suits, make_result, least=3, trials=10)
    killed_folder = type(folder)(tmp_path / "killed")
    killed = drive(killed_folder, suits, make_result, least=3, trials=10, killed_at=(2, 8))

    assert killed == whole


def test_more_trials_than_the_study_has_are_refused(suits):
    with pytest.raises(FerError, match="--per-family 4 needs 12 trials, and --trials is 11") as no:
        Families(suits, seed=0, least=4).check(11)

    assert "geometry, geometry+gru, geometry+lstm" in str(no.value)
    Families(suits, seed=0, least=4).check(12)


def test_a_space_that_lists_its_points_has_no_families_to_fill(enumerated):
    with pytest.raises(FerError, match=r"--per-family 1 cannot be given: .* lists its points"):
        Families(enumerated, seed=0, least=1).check(3)


def test_a_family_whose_configs_are_used_up_is_named(few, monkeypatch):
    monkeypatch.setattr(families_module, "MOST_DRAWS", 90)
    families = Families(few, seed=0, least=9)
    known = {drawn.config_id for drawn in filter(None, map(families._draw, range(90)))}

    assert families.wanted({"geometry": 5}, known) is None
    (line,) = families.lacking({"geometry": 5}, known)
    assert line.startswith("family geometry has 5 trials, and not 9")


def test_the_configs_of_a_family_are_told_apart_by_what_matters_of_them(folder, write_space):
    space = spaces.load(
        write_space("""
            from fer_core.config import Config, GeometryConfig, HeadConfig


            def space(trial):
                width = trial.suggest_int("width", 8, 64)  # of no FC layer
                hidden = trial.suggest_categorical("hidden", [0, 16, 32])
                streams = (GeometryConfig(encoding="centred", hidden=hidden),)
                return Config(streams=streams, head=HeadConfig(fc_layers=0, fc_width=width))
            """)
    )
    families = Families(space, seed=0, least=3)

    expected = foreseen(space, Draws(seed=0, families=families), count=3)

    assert len({config.config_id for config in expected}) == 3
    assert families.names == ("geometry",)
