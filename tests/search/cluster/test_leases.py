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
    server, holders = LeaseServer(), {}
    for move, name, holder in moves:
        if move == "take":
            assert server.take(name, holder) == (holders.get(name, holder) == holder)
            holders.setdefault(name, holder)
        else:
            server.release(name, holder)
            if holders.get(name) == holder:
                del holders[name]


def test_the_lease_of_a_silent_holder_is_given_to_the_next(monkeypatch):
    server, now = LeaseServer(), time.monotonic()
    assert server.take("a", "x")
    assert server.take("b", "x")
    monkeypatch.setattr(time, "monotonic", lambda: now + SILENT_SECONDS - 1)
    server.note_alive("x")
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.5 * SILENT_SECONDS)
    assert not server.take("a", "y")
    monkeypatch.setattr(time, "monotonic", lambda: now + 3 * SILENT_SECONDS)

    assert server.take("a", "y")
    server.release("a", "x")  # it was not dead, but it is no longer the holder
    assert not server.take("a", "z")


def test_outside_ray_nobody_else_is_asked():
    with Leases("nobody").take("a") as mine:
        assert mine


@pytest.mark.slow
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
