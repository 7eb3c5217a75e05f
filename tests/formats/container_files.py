"""Small NetCDF 4 and HDF5 files as their libraries write them: dimensions as attached scales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rasterio.crs import CRS

#: (band, y, x); no two axes are of one length.
CUBE = np.random.default_rng(5).integers(0, 30_000, (4, 5, 6)).astype("i2")
WAVELENGTH = np.array([450.0, 550.0, 650.0, 1380.0])
NAMES = {"band": "wavelength", "row": "y", "col": "x"}
WKT = CRS.from_epsg(32612).to_wkt()

#: Row 0 the northern one, 2 m, outer corner at (500000, 4000000).
Y = 4_000_000.0 - 2.0 * (np.arange(5) + 0.5)
X = 500_000.0 + 2.0 * (np.arange(6) + 0.5)


def write_netcdf4(path: Path, variables: Mapping[str, tuple[tuple[str, ...], Any, Mapping[str, Any]]]) -> Path:
    """Write arrays by their paths: names of dimensions, samples, attributes.

    A dimension is given by the path of the array that holds its coordinates, or by a name that no array has.
    """
    with h5py.File(path, "w") as file:
        file.attrs["_NCProperties"] = np.bytes_(b"version=2,netcdf=4.9.2,hdf5=1.14.3")
        for name, (dims, samples, attrs) in variables.items():
            dataset = file.create_dataset(name, data=samples, chunks=True if np.ndim(samples) > 2 else None)
            dataset.attrs.update(attrs)
            if dims == (name,):
                dataset.make_scale(name.rpartition("/")[2])
        for name, (dims, samples, _) in variables.items():
            for axis, dim in enumerate(dims):
                if dim == name:
                    continue
                if dim not in file:
                    length = np.shape(samples)[axis]
                    scale = file.create_dataset(dim, data=np.zeros(length, ">f4"))
                    scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{length:10d}")
                file[name].dims[axis].attach_scale(file[dim])
    return path


def coordinates(y: Any = Y, x: Any = X, **more: Any) -> dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]]:
    """Coordinates of rows and columns, wavelengths and a grid mapping called crs."""
    return {
        "y": (("y",), y, {"standard_name": "projection_y_coordinate", "units": "m"}),
        "x": (("x",), x, {"standard_name": "projection_x_coordinate", "units": "m"}),
        "wavelength": (("wavelength",), WAVELENGTH, {"units": "nm"}),
        "crs": ((), 0, {"crs_wkt": WKT, **more}),
    }
