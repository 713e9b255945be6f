import time

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from search.cluster import leases
from search.cluster.leases import SILENT_SECONDS, Leases, LeaseServer

MOVES = st.lists(
    st.tuples(st.sampled_from(["take", "free"]), st.sampled_from("ab"), st.sampled_from("xyz")),
    max_size=30,
)


@given(MOVES)
def test_nobody_is_given_what_another_holds(moves):
    office, holders = LeaseServer(), {}
    for move, name, holder in moves:
        if move == "take":
            assert office.take(name, holder) == (holders.get(name, holder) == holder)
            holders.setdefault(name, holder)
        else:
            office.free(name, holder)
            if holders.get(name) == holder:
                del holders[name]


def test_a_lease_of_who_fell_silent_is_given_to_the_next(monkeypatch):
    office, now = LeaseServer(), time.monotonic()
    assert office.take("a", "x")
    assert office.take("b", "x")
    monkeypatch.setattr(time, "monotonic", lambda: now + SILENT_SECONDS - 1)
    office.hear("x")
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.5 * SILENT_SECONDS)
    assert not office.take("a", "y")
    monkeypatch.setattr(time, "monotonic", lambda: now + 3 * SILENT_SECONDS)

    assert office.take("a", "y")
    office.free("a", "x")  # it is not dead after all, and no longer the holder
    assert not office.take("a", "z")


def test_outside_ray_nobody_else_is_asked():
    with Leases("nobody").take("a") as mine:
        assert mine


@pytest.mark.ray
def test_workers_of_a_cluster_share_leases_and_one_that_died_gives_its_up(monkeypatch):
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = leases.connect("s3://lab/store", silent_seconds=6.0)

        @ray.remote(num_cpus=1)
        class Maker:
            def take(self, name):
                self.lease = found.take(name)
                return self.lease.__enter__()

        one, two = Maker.remote(), Maker.remote()

        assert ray.get(one.take.remote("a"))
        assert not ray.get(two.take.remote("a"))
        assert ray.get(two.take.remote("b"))
        ray.kill(one)
        ends = time.monotonic() + 60
        while not ray.get(two.take.remote("a")):
            assert time.monotonic() < ends
            time.sleep(0.5)
    finally:
        ray.shutdown()
