"""hadgeo as an engine of xarray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from hadgeo import open_cube
from hadgeo.cube import source_of
from hadgeo.errors import CubeError
from hadgeo.formats import Reading
from hadgeo.formats.arrays import ContainerSource
from hadgeo.xarray_backend import HadgeoBackendEntrypoint
from tests.formats.container_files import CUBE, WAVELENGTH, coordinates, write_netcdf4

pytestmark = pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    dims = ("y", "x", "wavelength")
    cube = (dims, CUBE.transpose(1, 2, 0), {"grid_mapping": "crs"})
    return write_netcdf4(tmp_path / "cube.nc", {**coordinates(), "rfl": cube})


@pytest.mark.parametrize("chunks", [None, {}, "auto", {"y": 2}])
def test_an_opened_array_is_that_of_open_cube(path: Path, chunks: Any) -> None:
    found = xr.open_dataarray(path, engine=HadgeoBackendEntrypoint, chunks=chunks)
    expected = open_cube(path)
    xr.testing.assert_identical(found.compute(), expected.compute())
    assert found.dims == ("band", "y", "x")
    assert found.wavelength.values.tolist() == WAVELENGTH.tolist()
    assert found.rio.crs.to_epsg() == 32612
    np.testing.assert_array_equal(found.isel(band=[2, 0], y=slice(1, 3)).values, CUBE[[2, 0], 1:3])


def test_a_dataset_has_the_cube_as_its_only_variable(path: Path) -> None:
    found = xr.open_dataset(path, engine=HadgeoBackendEntrypoint, drop_variables=["good"])
    assert list(found.data_vars) == ["cube"]
    assert "good" not in found.coords
    np.testing.assert_array_equal(found["cube"].values, CUBE)


def test_nothing_is_read_before_it_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[tuple[int, ...]] = []
    read = ContainerSource.read

    def counting(self: ContainerSource, *args: Any) -> Any:
        window = read(self, *args)
        windows.append(window.shape)
        return window

    monkeypatch.setattr(ContainerSource, "read", counting)
    # Looking for fill that nobody declared reads the border.
    cube = xr.open_dataarray(path, engine=HadgeoBackendEntrypoint, reading=Reading(fill="none"))
    part = cube.isel(band=1, y=slice(0, 2))
    assert not windows
    np.testing.assert_array_equal(part.values, CUBE[1, :2])
    assert windows == [(1, 2, 6)]


def test_a_scene_is_scored_from_the_files_own_source(path: Path) -> None:
    assert isinstance(source_of(xr.open_dataarray(path, engine=HadgeoBackendEntrypoint)), ContainerSource)


def test_what_is_said_of_a_file_reaches_it(tmp_path: Path) -> None:
    dims = ("p", "q", "r")
    path = write_netcdf4(tmp_path / "x.nc", {"a": (dims, CUBE, {}), "b": (dims, CUBE + 1, {})})
    with pytest.raises(CubeError, match="2 arrays that could be the cube"):
        xr.open_dataarray(path, engine=HadgeoBackendEntrypoint)
    said: list[dict[str, Any]] = [
        {"variable": "b", "band_axis": 1},
        {"reading": Reading(variable="b", band_axis=1)},
        {"reading": Reading(variable="a", band_axis=1), "variable": "b"},
        {"backend_kwargs": {"variable": "b", "band_axis": 1}},
    ]
    for options in said:
        found = xr.open_dataarray(path, engine=HadgeoBackendEntrypoint, **options)
        np.testing.assert_array_equal(found.values, (CUBE + 1).transpose(1, 0, 2))
    found = xr.open_dataarray(path, engine=HadgeoBackendEntrypoint, variable="b", band_axis=1, bands=[3, 0])
    assert found.band.values.tolist() == [4, 1]


def test_arrays_of_one_file_do_not_share_their_chunks(tmp_path: Path) -> None:
    dims = ("band", "y", "x")
    path = write_netcdf4(tmp_path / "x.nc", {"a": (dims, CUBE, {}), "b": (dims, CUBE + 1, {})})
    first, second = (open_cube(path, reading=Reading(variable=name)) for name in ("a", "b"))
    np.testing.assert_array_equal((second - first).values, np.ones_like(CUBE))


@pytest.mark.parametrize("name", ["y.nc", "wavelength.nc"])
def test_a_file_may_be_called_as_a_coordinate_is(path: Path, name: str) -> None:
    found = xr.open_dataarray(path.rename(path.with_name(name)), engine=HadgeoBackendEntrypoint)
    assert found.name == "cube"
    np.testing.assert_array_equal(found.values, CUBE)


@pytest.mark.parametrize(
    ("name", "guessed"), [("x.bsq", True), ("x.BIP", True), ("x.nc", False), ("x.tif", False), ("x.zarr", False)]
)
def test_only_raw_cubes_are_claimed_without_being_asked(tmp_path: Path, name: str, guessed: bool) -> None:
    (tmp_path / name).write_bytes(b"")
    backend = HadgeoBackendEntrypoint()
    assert backend.guess_can_open(tmp_path / name) == guessed
    assert not backend.guess_can_open(tmp_path / f"missing_{name}")
    assert not backend.guess_can_open(object())


def test_the_engine_is_found_by_its_entry_point_and_loads_nothing(path: Path, tmp_path: Path) -> None:
    """In a process of its own, beside the metadata that an installation makes."""
    told = tmp_path / "site" / "hadgeo_engine-1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: hadgeo-engine\nVersion: 1\n")
    project = Path(__file__).parents[1]
    (told / "entry_points.txt").write_text(_entry_points(project / "pyproject.toml"))
    script = (
        f"import sys; sys.path[:0] = [{str(project)!r}, {str(told.parent)!r}]\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import xarray as xr\n"
        "assert 'hadgeo' in xr.backends.list_engines()\n"
        "assert not {'torch', 'hadgeo.formats'} & set(sys.modules)\n"
        f"print(xr.open_dataarray({str(path)!r}, engine='hadgeo').values.sum(dtype='f8'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == CUBE.sum()


def _entry_points(pyproject: Path) -> str:
    import tomllib

    points = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["entry-points"]["xarray.backends"]
    return "\n".join(["[xarray.backends]", *(f"{name} = {target}" for name, target in points.items())]) + "\n"
