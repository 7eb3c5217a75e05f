"""The limit of addresses that a process may map (``ulimit -v``), known before any library is loaded."""

from __future__ import annotations

#: What Python and the libraries of any command map, in bytes; those of a GPU map more.
LIBRARY_ADDRESSES = 10**9


def address_space() -> int | None:
    """Bytes of addresses that this process may map; None for any number."""
    try:
        import resource
    except ImportError:  # Windows has no such limit.
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
