"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, so that a test that passes goes on passing; `make test-all` searches at random, and long.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("long", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scenes: the environment variable HADGEO_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("HADGEO_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real scenes in {folder}; set HADGEO_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def readers() -> Iterator[Executor]:
    """Threads that read."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def pytest_configure(config: pytest.Config) -> None:
    # rasterio and rioxarray multiply transforms in a way that affine 3 means to give up; nothing that we could change.
    config.addinivalue_line("filterwarnings", "ignore:Use `@` matmul:PendingDeprecationWarning")
    # rasterio 1.4 gives arrays another shape in a way that NumPy 2.5 means to give up.
    config.addinivalue_line("filterwarnings", "ignore:Setting the shape on a NumPy array:DeprecationWarning")
