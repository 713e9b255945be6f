import time

import pytest
from optuna.trial import TrialState
from ray.tune.search import Searcher

from fer_core import config as configs
from fer_core.storage.files import write_atomically
from fer_core.trial.rungs import rungs
from search.drawing import space as spaces
from search.drawing.draws import Draws
from search.study.disk import FullDiskError
from search.study.folder import Folder
from search.study.journal import RETRIES, Journal
from search.study.journal_backends import file_storage
from search.study.searcher import BLIND, StudySearcher

NEVER_VALID = """
    def space(trial):
        raise ValueError(f"no config for {trial.suggest_int('x', 0, 9)}")
    """
TWO_KINDS = """
    from fer_core.config import Config, GeometryConfig, OptimizerConfig


    def space(trial):
        hidden = trial.suggest_categorical("hidden", [8, 16])
        lr = trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        return Config(
            streams=(GeometryConfig(hidden=hidden),), optimizer=OptimizerConfig(lr=lr)
        )
    """


@pytest.fixture
def finished():
    return []


@pytest.fixture
def make_searcher(journal, space, finished):
    def make(trials=2, deadline=None, space=space, journal=journal, most=1, workers=1):
        return StudySearcher(
            journal,
            space,
            trials=trials,
            deadline=deadline,
            on_finish=finished.append,
            most_members=lambda config: most,
            workers=workers,
        )

    return make


@pytest.fixture
def raced(journal):
    return Journal(
        journal.folder, file_storage(journal.folder), Draws(seed=0), rungs=rungs(2, raced=True)
    )


@pytest.fixture
def light(write_space):
    """A space whose draws all train in one shape."""
    return spaces.load(write_space(TWO_KINDS.replace("[8, 16]", "[8]")))


@pytest.fixture
def two_kinds(write_space):
    """A space whose draws train in two shapes."""
    return spaces.load(write_space(TWO_KINDS))


def numbers(pack):
    return [member["number"] for member in pack["members"]]


def only(pack):
    (member,) = pack["members"]
    return member["number"]


def complete(searcher, journal, make_result, trial_id, *members, **values):
    for number in members:
        journal.folder.write_result(make_result(number, **values))
    searcher.on_trial_complete(trial_id)


def test_it_waits_while_trials_run_and_ends_when_they_are_done(make_searcher, journal, make_result):
    searcher = make_searcher(trials=2)
    started = {name: only(searcher.suggest(name)) for name in ("a", "b")}

    assert searcher.suggest("c") is None
    for name, number in started.items():
        complete(searcher, journal, make_result, name, number)
    assert searcher.suggest("c") == Searcher.FINISHED
    assert len(journal.finished()) == 2


def test_a_config_that_the_space_cannot_make_fails_and_the_next_is_drawn(
    make_searcher, write_space, journal, finished
):
    searcher = make_searcher(trials=3, space=spaces.load(write_space(NEVER_VALID)))

    assert searcher.suggest("a") == Searcher.FINISHED
    assert [result.state for result in finished] == ["failed"] * 3
    assert "ValueError: no config for" in finished[0].error
    assert journal.finished() == finished


SMALL = """
    from fer_core.config import Config, ConfigError, GeometryConfig


    def space(trial):
        hidden = trial.suggest_int("hidden", 0, 4)
        if hidden > 2:
            raise ConfigError(f"hidden is {hidden}; it must be at most 2.")
        return Config(streams=(GeometryConfig(hidden=hidden),))
    """


def test_a_study_of_a_small_space_ends_with_all_its_configs_and_says_why_once(
    make_searcher, write_space, journal, make_result, finished
):
    searcher, lines = make_searcher(trials=9, space=spaces.load(write_space(SMALL))), []
    searcher.print = lines.append

    while (pack := searcher.suggest("a")) != Searcher.FINISHED:
        config = configs.from_json(pack["members"][0]["config_json"])
        complete(searcher, journal, make_result, "a", only(pack), config=config)

    assert sorted(configs.from_json(r.config_json).streams[0].hidden for r in finished) == [0, 1, 2]
    assert {result.state for result in finished} == {"complete"}
    assert len(lines) == 2
    assert any("; it must be at most 2" in line for line in lines)
    assert any("an earlier trial has this config" in line for line in lines)


def test_a_trial_that_lost_its_worker_is_repeated(make_searcher, journal, make_result, finished):
    searcher = make_searcher(trials=1)
    lost = searcher.suggest("a")

    searcher.on_trial_complete("a", error=True)
    repeat = searcher.suggest("b")
    complete(searcher, journal, make_result, "b", only(repeat))

    assert repeat["members"][0]["config_json"] == lost["members"][0]["config_json"]
    assert [result.number for result in finished] == numbers(repeat)
    assert searcher.suggest("c") == Searcher.FINISHED


def test_a_trial_that_always_loses_its_worker_fails(make_searcher, finished):
    searcher = make_searcher(trials=1)

    for name in map(str, range(RETRIES + 1)):
        assert searcher.suggest(name)["members"]
        searcher.on_trial_complete(name, error=True)

    assert [result.state for result in finished] == ["failed"]
    assert searcher.suggest("z") == Searcher.FINISHED


def test_a_pack_has_the_members_it_should_while_draws_are_blind(make_searcher, journal, light):
    searcher = make_searcher(space=light, trials=40, most=16)

    first, second = searcher.suggest("a"), searcher.suggest("b")

    assert numbers(first) == list(range(BLIND))
    assert numbers(second) == [BLIND]  # nothing is known yet that more could be drawn by


def test_later_packs_grow_with_what_is_known(make_searcher, journal, make_result, light):
    searcher, sizes = make_searcher(space=light, trials=60, most=16), []
    while (pack := searcher.suggest("a")) != Searcher.FINISHED:
        complete(searcher, journal, make_result, "a", *numbers(pack))
        sizes.append(len(numbers(pack)))

    assert sum(sizes) == 60
    assert sizes[:4] == [10, 2, 3, 3]
    assert max(sizes) <= 15


def test_heavy_configs_are_never_drawn_ahead(make_searcher, journal):
    searcher = make_searcher(trials=40)

    searcher.suggest("a")

    assert journal.draws.kept == 1


def test_several_workers_share_a_short_study(make_searcher, light):
    searcher = make_searcher(space=light, trials=8, most=16, workers=2)

    assert len(numbers(searcher.suggest("a"))) == 2


def test_members_of_one_pack_have_one_shape(make_searcher, journal, two_kinds):
    searcher = make_searcher(trials=10, most=4, space=two_kinds)

    first, second = searcher.suggest("a"), searcher.suggest("b")

    for pack in (first, second):
        shapes = {'"hidden":8' in member["config_json"] for member in pack["members"]}
        assert len(shapes) == 1
    assert not set(numbers(first)) & set(numbers(second))


def test_two_runs_draw_and_pack_alike(make_searcher, two_kinds, make_result, tmp_path):
    def packed(name):
        folder = Folder(tmp_path / name)
        folder.path.mkdir()
        journal = Journal(folder, file_storage(folder), Draws(seed=0))
        searcher, seen = make_searcher(trials=30, most=4, space=two_kinds, journal=journal), []
        while (pack := searcher.suggest("a")) != Searcher.FINISHED:
            seen.append(pack)
            complete(searcher, journal, make_result, "a", *numbers(pack))
        return seen

    assert packed("one") == packed("two")


def rung(make_result, *scores, passed=1):
    return [
        make_result(number, state="pruned", uars=(score,), rung_uars=(score,) * passed)
        for number, score in scores
    ]


def test_the_worse_half_of_a_pack_leaves_it_and_the_rest_goes_on(
    make_searcher, raced, make_result, finished, light
):
    searcher = make_searcher(space=light, trials=4, most=4, journal=raced)
    searcher.suggest("a")

    leaving = searcher.on_rung("a", rung(make_result, (0, 0.5), (1, 0.1), (2, 0.6), (3, 0.2)))

    assert leaving == [1, 3]
    assert [(result.number, result.state) for result in finished] == [(1, "pruned"), (3, "pruned")]
    pruned = raced._study.trials[1]
    assert (pruned.state, pruned.value) == (TrialState.PRUNED, 0.1)
    complete(searcher, raced, make_result, "a", 0, 2, rung_uars=(0.5,))
    assert raced.finished_numbers() == [0, 1, 2, 3]
    assert searcher.suggest("b") == Searcher.FINISHED


def test_a_pack_whose_members_have_all_left_is_stopped(make_searcher, raced, make_result, light):
    searcher = make_searcher(space=light, trials=5, most=4, journal=raced)
    searcher.suggest("a")
    searcher.on_rung("a", rung(make_result, (0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)))
    complete(searcher, raced, make_result, "a", 0, 1, 2, 3, rung_uars=(0.5,))
    searcher.suggest("b")

    assert searcher.on_rung("b", rung(make_result, (4, 0.1))) is None


def test_a_member_that_failed_is_told_while_its_pack_goes_on(
    make_searcher, raced, make_result, finished, light
):
    searcher = make_searcher(space=light, trials=2, most=2, journal=raced)
    searcher.suggest("a")
    raced.folder.write_result(failed := make_result(0, state="failed"))

    leaving = searcher.on_rung("a", [failed, *rung(make_result, (1, 0.5))])

    assert (leaving, finished) == ([], [failed])
    assert raced._study.trials[0].state == TrialState.FAIL


def test_a_full_disk_stops_the_study_and_fails_no_trial(make_searcher, journal, finished):
    searcher = make_searcher(trials=3)
    searcher.suggest("a")

    searcher.on_trial_complete("a", {"node": "a", "full_disk": "the disk is full: store/x.npy"})

    assert isinstance(searcher.error, FullDiskError)
    assert searcher.suggest("b") == Searcher.FINISHED
    assert finished == []
    journal.reconcile()
    assert journal._study.trials[-1].state == TrialState.WAITING


def test_a_full_disk_of_one_of_several_nodes_bars_that_node_and_the_study_goes_on(
    make_searcher, journal, finished
):
    searcher, lines = make_searcher(trials=3), []
    searcher.nodes, searcher.print = Nodes(), lines.append
    reason = "node w1: the disk is full: cache/x.npy cannot be written"
    lost, _ = searcher.suggest("1"), searcher.suggest("2")

    for name in "12":
        searcher.placed(name, "a")
        searcher.on_trial_complete(name, {"node": "a", "full_disk": reason})

    assert (searcher.error, finished) == (None, [])
    assert lines == [f"no more trials go to this node: {reason}"]
    again = searcher.suggest("3")
    assert again["avoid"] == ["a"]
    assert again["members"][0]["config_json"] == lost["members"][0]["config_json"]


def test_a_full_disk_of_the_last_node_stops_the_study(make_searcher):
    searcher = make_searcher(trials=3)
    searcher.nodes = Nodes()

    for name, node in (("1", "a"), ("2", "b")):
        searcher.suggest(name)
        searcher.on_trial_complete(name, {"node": node, "full_disk": f"{node}: the disk is full"})

    assert isinstance(searcher.error, FullDiskError)
    assert str(searcher.error) == "b: the disk is full"


def test_however_often_a_disk_is_full_no_trial_fails_of_it(make_searcher, journal, finished):
    for pack in range(6):
        searcher = make_searcher(trials=1)
        searcher.suggest(str(pack))
        searcher.on_trial_complete(str(pack), {"node": "a", "full_disk": "the disk is full"})

    assert finished == []


def test_a_trial_whose_worker_died_is_repeated_in_a_pack_of_its_own(make_searcher, light):
    searcher = make_searcher(trials=6, space=light, most=6)
    together = searcher.suggest("a")["members"]

    searcher.on_trial_complete("a")  # no result: the worker is gone

    again = [searcher.suggest(name)["members"] for name in "bcd"]
    assert len(together) > 1
    assert [len(members) for members in again] == [1, 1, 1]


def test_no_trial_starts_after_the_deadline_and_those_that_run_are_told(
    make_searcher, journal, make_result
):
    searcher = make_searcher(trials=9, deadline=time.monotonic() + 0.2)
    number = only(searcher.suggest("a"))
    time.sleep(0.2)

    assert searcher.suggest("b") is None
    complete(searcher, journal, make_result, "a", number)
    assert searcher.suggest("b") == Searcher.FINISHED
    assert journal.finished_numbers() == [number]


def test_finished_trials_of_an_earlier_run_count(make_searcher, journal, make_result):
    journal.finish(make_result(journal.ask().number))

    searcher = make_searcher(trials=1)

    assert searcher.suggest("a") == Searcher.FINISHED


def test_an_error_while_a_trial_is_told_stops_the_search(make_searcher, journal, make_result):
    def refuse(result):
        raise OSError("no space left on device")

    searcher = make_searcher(trials=3)
    searcher._on_finish = refuse

    complete(searcher, journal, make_result, "a", only(searcher.suggest("a")))

    assert isinstance(searcher.error, OSError)
    assert searcher.suggest("b") == Searcher.FINISHED


class Nodes:
    """Two nodes; `gone` ones are lost."""

    def __init__(self, *gone):
        self.gone, self.deaths, self.excluded = set(gone), [], set()

    def is_lost(self, node):
        return node in self.gone

    def note_death(self, node, config_jsons):
        self.deaths.append((node, len(config_jsons)))

    def exclude(self, node):
        self.excluded.add(node)
        return len(self.excluded) < 2

    def to_avoid(self, config_jsons):
        return [*self.excluded, *(node for node, _ in self.deaths)]


def test_however_often_a_trial_loses_its_node_it_is_repeated_and_not_counted(
    make_searcher, journal, finished
):
    searcher = make_searcher(trials=1)
    searcher.nodes = Nodes("a")

    for name in map(str, range(3 * RETRIES)):
        assert searcher.suggest(name)["members"]
        searcher.placed(name, "a")
        searcher.on_trial_complete(name, error=True)

    assert finished == []
    assert searcher.preempted == 3 * RETRIES
    assert searcher.nodes.deaths == []


def test_a_worker_that_died_on_a_node_that_lives_is_held_against_it(make_searcher, light):
    searcher = make_searcher(space=light, trials=6, most=6)
    searcher.nodes = Nodes("b")
    searcher.suggest("1")
    searcher.placed("1", "a")

    searcher.on_trial_complete("1", error=True)

    assert searcher.nodes.deaths == [("a", 6)]
    assert searcher.suggest("2")["avoid"] == ["a"]
    assert searcher.preempted == 0


def test_a_pack_is_taken_back_when_the_node_that_it_avoids_is_all_that_is_left(make_searcher):
    searcher = make_searcher(trials=9)
    searcher.nodes = Nodes()
    searcher.suggest("1")
    searcher.placed("1", "a")
    searcher.on_trial_complete("1", error=True)
    waits, _ = searcher.suggest("2"), searcher.suggest("3")
    searcher.placed("3", "b")

    searcher.on_loss()
    assert searcher.taken_back == []

    searcher.nodes.deaths.clear()
    searcher.on_loss()
    assert searcher.taken_back == ["2"]
    searcher.on_trial_complete("2")
    again = searcher.suggest("4")
    assert (waits["avoid"], again["avoid"]) == (["a"], [])
    assert [m["config_json"] for m in again["members"]] == [
        m["config_json"] for m in waits["members"]
    ]


def test_what_lost_its_node_goes_before_what_was_drawn_ahead(make_searcher, two_kinds):
    searcher = make_searcher(trials=40, most=4, space=two_kinds)
    searcher.nodes = Nodes("a")
    lost = searcher.suggest("1")
    searcher.suggest("2")
    assert len(searcher._queue)
    searcher.placed("1", "a")

    searcher.on_trial_complete("1", error=True)

    again = [member["config_json"] for member in searcher.suggest("3")["members"]]
    assert again == [member["config_json"] for member in lost["members"]]


def test_a_trial_that_ran_out_of_memory_is_repeated_alone_on_a_whole_share(
    make_searcher, journal, light, make_result, finished
):
    searcher = make_searcher(space=light, trials=4, most=4)
    together = searcher.suggest("a")
    for number in numbers(together)[1:]:
        journal.folder.write_result(make_result(number))

    searcher.on_trial_complete("a", {"out_of_memory": numbers(together)[:1]})
    again = searcher.suggest("b")

    assert together["shape"] == "head"
    assert (again["shape"], len(again["members"])) == ("larger", 1)
    assert again["members"][0]["config_json"] == together["members"][0]["config_json"]
    assert len(finished) == 3


def test_a_larger_trial_that_loses_its_node_stays_larger(make_searcher, light):
    searcher = make_searcher(space=light, trials=1)
    searcher.nodes = Nodes("a")
    searcher.on_trial_complete("1", {"out_of_memory": numbers(searcher.suggest("1"))})
    searcher.suggest("2")
    searcher.placed("2", "a")

    searcher.on_trial_complete("2", error=True)

    assert searcher.suggest("3")["shape"] == "larger"


def test_packs_wait_until_they_are_placed(make_searcher):
    searcher = make_searcher(trials=9)
    searcher.suggest("1")
    searcher.suggest("2")

    searcher.placed("1", "a")

    assert searcher.pending == {"2"}


def test_a_node_that_does_not_see_what_it_must_gets_no_more_packs_and_nothing_counts(
    make_searcher, journal, finished
):
    searcher = make_searcher(trials=1)
    searcher.nodes = Nodes()
    searcher.suggest("1")
    searcher.placed("1", "a")

    searcher.on_trial_complete("1", {"node": "a", "missing_file": "node a does not see /mnt/lab."})

    assert searcher.suggest("2")["avoid"] == ["a"]
    assert (searcher.error, finished) == (None, [])


def test_where_no_other_node_is_left_what_it_does_not_see_ends_the_study(make_searcher):
    searcher = make_searcher(trials=1)
    searcher.nodes = Nodes()
    for node in ("a", "b"):
        searcher.suggest(node)
        searcher.placed(node, node)
        reason = f"node {node} does not see /mnt/lab."
        searcher.on_trial_complete(node, {"node": node, "missing_file": reason})

    assert str(searcher.error) == "node b does not see /mnt/lab."


def test_no_more_is_drawn_than_there_is_room_for(make_searcher):
    searcher = make_searcher(trials=9)
    searcher.most_packs = lambda shape: 2

    assert searcher.suggest("1")["members"]
    assert searcher.suggest("2")["members"]
    assert searcher.suggest("3") is None


def test_one_pack_may_wait_where_all_nodes_are_gone(make_searcher):
    searcher = make_searcher(trials=9)
    searcher.most_packs = lambda shape: 0

    assert searcher.suggest("1")["members"]
    assert searcher.suggest("2") is None


def test_the_checkpoints_of_a_trial_that_was_stopped_are_deleted(
    make_searcher, journal, make_result, space
):
    searcher = make_searcher(trials=1)
    number = only(searcher.suggest("a"))
    config = drawn_config(journal, number)
    left = journal.folder.checkpoints / f"{config.config_id}-fold0-0.ckpt"
    other = journal.folder.checkpoints / "other-fold0-0.ckpt"
    for path in (left, other):
        write_atomically(path, b"")
    journal.folder.write_result(make_result(number, state="failed", config=config))

    searcher.on_trial_complete("a")

    assert not left.exists()
    assert other.exists()


def drawn_config(journal, number):
    return configs.from_json(journal._study.trials[number].user_attrs["config_json"])
