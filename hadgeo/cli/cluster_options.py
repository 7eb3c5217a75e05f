"""The option ``--cluster`` of detect and batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hadgeo.run.cluster import Cluster

cluster = click.option(
    "--cluster",
    metavar="WHERE",
    help="Score on a dask cluster: tcp://host:8786 for a running scheduler, local:N for N processes on this machine, "
    "or cuda for one process per GPU. --memory then applies to each worker.",
)


@contextmanager
def connected(where: str | None) -> Iterator[Cluster | None]:
    """The cluster that was asked for, or None."""
    if where is None:
        yield None
        return
    import logging

    from hadgeo.run.cluster import connect

    # Workers that come and go are dask's business; what ends a run is said in one line.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with connect(where) as cluster:
        yield cluster
