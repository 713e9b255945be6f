import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import ClusterError
from search.request import address

TAKEN = {
    "auto": "auto",
    "local": "local",
    " head:6379 \n": "head:6379",
    "head": "head:6379",
    "10.0.0.7:29300": "10.0.0.7:29300",
    "my-head_1.lab.example:6380": "my-head_1.lab.example:6380",
    "[::1]:6379": "[::1]:6379",
    "[fe80::1]": "[fe80::1]:6379",
    "::1": "[::1]:6379",
    "2001:db8::7": "[2001:db8::7]:6379",
}
REFUSED = {
    "http://host:8265": ("dashboard", "--address http://host:8265 -- ", "give host:6379"),
    "https://host/": ("dashboard", "--address https://host -- ", "give host:6379"),
    "HTTP://host:8265": ("dashboard", "give host:6379"),
    "ray://host:10001": ("Ray Client", "--address http://host:8265 -- ", "give host:6379"),
    "ray://[::1]:10001": ("Ray Client", "give [::1]:6379"),
    "redis://host:6379": ("no address with 'redis://'", "give HOST:PORT, as host:6379"),
    "": ("must be HOST, HOST:PORT or [IPv6]:PORT",),
    "  ": ("must be HOST",),
    "host:": ("must be HOST",),
    ":6379": ("must be HOST",),
    "host:port": ("must be HOST",),
    "host:0": ("must be HOST",),
    "host:65536": ("must be HOST",),
    "host:\u0666": ("must be HOST",),
    "user@host:6379": ("must be HOST",),
    "head:6379/": ("must be HOST",),
    "a host:6379": ("must be HOST",),
    "[::1:6379": ("must be HOST",),
    "[head]:6379": ("must be HOST",),
}


@pytest.mark.parametrize("text", TAKEN)
def test_an_address_is_read_as_people_write_it(text):
    assert address.read(text, "--address") == TAKEN[text]


@pytest.mark.parametrize("text", REFUSED)
def test_any_other_is_refused_with_what_is_right(text):
    with pytest.raises(ClusterError) as refused:
        address.read(text, "RAY_ADDRESS")

    message = str(refused.value)
    assert message.startswith("RAY_ADDRESS is '")
    assert "\n" not in message.replace(text, "")
    for said in REFUSED[text]:
        assert said in message


@given(st.text())
def test_whatever_is_written_is_taken_or_refused_and_taken_again_once_read(text):
    try:
        taken = address.read(text, "--address")
    except ClusterError:
        return

    assert address.read(taken, "--address") == taken
    if taken not in ("auto", "local"):
        host, port = address.parts(taken)
        assert host
        assert 0 < port < 65536
