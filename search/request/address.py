"""Read the address of a Ray cluster as people write it: in --address, or in RAY_ADDRESS.

Ray itself has several kinds of address, and its commands do not all take the same ones. A search
takes that of the cluster's head, where `ray start --head` listens. For the others this module says
what to give instead. `search.cluster.connection` calls `read`.
"""

import ipaddress
import re

from fer_core.errors import ClusterError

PORT = 6379  # Ray's default
_HOST = re.compile(r"[\w.-]+", re.ASCII)
_JOBS, _CLIENT = ("http", "https"), "ray"  # schemes of Ray's dashboard, and of the Ray Client


def read(text: str, named: str) -> str:
    """Return "auto", "local", or HOST:PORT of the address `text`; `named` is where it was given.

    Raises: ClusterError that says what would be right.
    """
    address = text.strip()
    if address in ("auto", "local"):
        return address
    scheme, separator, rest = address.partition("://")
    if separator:
        raise ClusterError(f"{named} is '{address}', {_wrong_kind(scheme.lower(), rest)}.")
    host, port = _split(address)
    numbered = port.isdecimal() and port.isascii() and 0 < int(port) < 2**16
    if not numbered or not (_is_ipv6(host) or _HOST.fullmatch(host)):
        raise ClusterError(
            f"{named} is '{text}'; it must be HOST, HOST:PORT or [IPv6]:PORT of the machine on "
            "which `ray start --head` was run, or 'local' or 'auto'."
        )
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parts(address: str) -> tuple[str, int]:
    """Split an address that `read` returned into its host and its port."""
    host, port = _split(address)
    return host, int(port)


def _split(address: str) -> tuple[str, str]:
    """Split an address into host and port; without a port it is Ray's own."""
    if _is_ipv6(address):
        return address, str(PORT)
    if bracketed := re.fullmatch(r"\[([^\]]*)\](?::(.*))?", address):
        host, port = bracketed.groups()
        return (host, str(PORT) if port is None else port) if _is_ipv6(host) else ("", "")
    host, colon, port = address.rpartition(":")
    return (host, port) if colon else (address, str(PORT))


def _is_ipv6(host: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _wrong_kind(scheme: str, rest: str) -> str:
    """Say what an address with a scheme is for, and what to do with it."""
    place = rest.partition("/")[0]
    head = place.rpartition(":")[0] or place
    submit = "ray job submit --address {} -- python -m search.run ..."
    if scheme in _JOBS:
        return (
            "the address of Ray's dashboard; submit the search as a job, "
            f"`{submit.format(f'{scheme}://{place}')}`, or, on a machine of the cluster, give "
            f"{head}:{PORT}"
        )
    if scheme == _CLIENT:
        return (
            "the address of the Ray Client, which would end with this machine's connection; submit "
            f"the search as a job, `{submit.format(f'http://{head}:8265')}`, or, on a machine of "
            f"the cluster, give {head}:{PORT}"
        )
    return f"and a search knows no address with '{scheme}://'; give HOST:PORT, as {head}:{PORT}"
