"""PACE OCI: three detectors of L1B joined, packed products of L2, flags by the names that the file gives them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hadgeo.errors import CubeError
from hadgeo.formats import Reading, open_source
from tests.formats.products.makers import BANDS, WAVELENGTHS, pace_l1, pace_l2, put, read_all


@pytest.mark.parametrize("quantity", ["rhot", "Lt"])
def test_detectors_are_joined_by_wavelength(tmp_path: Path, quantity: str) -> None:
    cubes = pace_l1(tmp_path / "x.nc", quantity)
    source = open_source(tmp_path / "x.nc")
    assert source.metadata.wavelength is not None
    # Where blue and red overlap, blue ends.
    assert source.metadata.wavelength.tolist() == [315.0, 597.5, 600.0, 605.0, 895.0, 940.0, 2258.0]
    expected = np.concatenate([cubes["blue"][:2], cubes["red"], cubes["SWIR"]])
    np.testing.assert_array_equal(read_all(source), expected)
    assert not source.metadata.georeferenced
    assert "in sensor geometry" in source.metadata.warnings[0]


def test_a_missing_detector_is_said(tmp_path: Path) -> None:
    cubes = pace_l1(tmp_path / "x.nc")
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        del file["observation_data/rhot_SWIR"]
    source = open_source(tmp_path / "x.nc")
    np.testing.assert_array_equal(read_all(source), np.concatenate([cubes["blue"][:2], cubes["red"]]))
    assert any("rhot_SWIR is missing" in line for line in source.metadata.warnings)


def test_detectors_of_different_sizes_are_refused(tmp_path: Path) -> None:
    pace_l1(tmp_path / "x.nc")
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        swir = file["observation_data/rhot_SWIR"][:, :-1]
        del file["observation_data/rhot_SWIR"]
        file["observation_data/rhot_SWIR"] = swir
    with pytest.raises(CubeError, match="different sizes"):
        open_source(tmp_path / "x.nc")


@pytest.mark.parametrize("name", ["rhos", "Rrs"])
def test_level_2_is_unpacked(tmp_path: Path, name: str) -> None:
    stored = pace_l2(tmp_path / "x.nc", name)
    source = open_source(tmp_path / "x.nc")
    np.testing.assert_allclose(read_all(source), stored * 2e-6 + 0.05, rtol=1e-6)
    assert source.metadata.wavelength is not None
    assert source.metadata.wavelength.tolist() == list(WAVELENGTHS)


def test_another_product_of_the_file_is_named(tmp_path: Path) -> None:
    stored = pace_l2(tmp_path / "x.nc", "Rrs")
    with h5py.File(tmp_path / "x.nc", "r+") as file:
        dims = ("number_of_lines", "pixels_per_line", "wavelength_3d")
        put(file["geophysical_data"], "Rrs_unc", -stored.transpose(1, 2, 0), dims)
    for source in (
        open_source(tmp_path / "x.nc", reading=Reading(variable="Rrs_unc")),
        open_source(f'NETCDF:"{tmp_path / "x.nc"}":/geophysical_data/Rrs_unc'),
    ):
        np.testing.assert_array_equal(read_all(source), -stored)
    with pytest.raises(CubeError, match="no cube 'nothing'; it holds Rrs, Rrs_unc"):
        open_source(tmp_path / "x.nc", reading=Reading(variable="nothing"))


@pytest.mark.parametrize(("quality", "place"), [("cloud", (1, 2)), ("saturation", (3, 0))])
def test_flags_are_bits_by_name(tmp_path: Path, quality: str, place: tuple[int, int]) -> None:
    pace_l2(tmp_path / "x.nc")
    read = read_all(open_source(tmp_path / "x.nc", reading=Reading(quality=(quality,))))
    assert np.isnan(read[(slice(None), *place)]).all()
    assert np.isnan(read).sum() == BANDS


def test_flags_that_the_file_does_not_know_are_refused(tmp_path: Path) -> None:
    pace_l2(tmp_path / "x.nc")
    with pytest.raises(CubeError, match="no quality layer for 'shadow'; it has cloud, saturation"):
        open_source(tmp_path / "x.nc", reading=Reading(quality=("shadow",)))
