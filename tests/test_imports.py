"""Start-up stays fast: heavy libraries load when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "matplotlib",
    "distributed",
    "xarray",
    "dask",
    "rasterio",
    "scipy",
    "numpy",
    "pydantic",
    "rich",
    "sklearn",
)


@pytest.mark.parametrize(
    "statement",
    ["import hadgeo", "from hadgeo.cli import cli; cli(['--help'], standalone_mode=False)"],
)
def test_nothing_heavy_is_imported_at_start(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint('LOADED', *sorted(set(sys.modules) & {set(HEAVY)!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_public_names_are_there() -> None:
    import hadgeo

    for name in hadgeo.__all__:
        assert getattr(hadgeo, name) is not None
    assert set(hadgeo.__all__) <= set(dir(hadgeo))
    with pytest.raises(AttributeError, match="nothing"):
        _ = hadgeo.nothing
