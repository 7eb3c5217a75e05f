"""hadgeo as an engine of xarray: ``xr.open_dataarray(path, engine="hadgeo")`` gives what `hadgeo.open_cube` does.

xarray finds this module by the entry point group ``xarray.backends`` and imports it whenever it lists its engines, so
nothing of hadgeo is loaded before a file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr
from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    from hadgeo.formats.reading import Reading


class HadgeoBackendEntrypoint(BackendEntrypoint):
    """Hyperspectral cubes of every format that hadgeo knows, as a dataset of one variable (band, y, x).

    Its samples are read lazily, with or without ``chunks=``; without, as dask chunks that suit the file.
    """

    description = "Open hyperspectral cubes (ENVI, GeoTIFF, NetCDF, HDF5, Zarr, MATLAB and more) with hadgeo"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "bands", "reading", "variable", "band_axis")

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[Any],
        *,
        drop_variables: str | Iterable[str] | None = None,
        bands: Sequence[int] | None = None,
        reading: Reading | None = None,
        variable: str | None = None,
        band_axis: int | None = None,
    ) -> xr.Dataset:
        """Open a cube.

        Args:
            filename_or_obj: A file or folder, or a name that GDAL opens.
            drop_variables: Names of coordinates to leave out.
            bands: 0-based indices of the bands to keep, as in `hadgeo.open_cube`.
            reading: What you say of the file, as in `hadgeo.open_cube`.
            variable: `Reading.variable`, for short.
            band_axis: `Reading.band_axis`, for short.

        Raises:
            CubeError: The file cannot be used as a cube.
        """
        from dataclasses import replace

        from hadgeo.cube import open_cube
        from hadgeo.formats.reading import AS_IT_SAYS

        told = reading or AS_IT_SAYS
        told = told if variable is None else replace(told, variable=variable)
        told = told if band_axis is None else replace(told, band_axis=band_axis)
        cube = open_cube(os.fspath(filename_or_obj), bands=bands, reading=told)
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        # The name of the file may be that of a coordinate, such as y.
        name = cube.name if cube.name not in cube.coords and cube.name not in cube.dims else "cube"
        return cube.to_dataset(name=name).drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether xarray should take this engine without being told: only for files that no other engine reads.

        Args:
            filename_or_obj: Whatever xarray was given.
        """
        try:
            name = os.fspath(filename_or_obj)
        except TypeError:
            return False
        return isinstance(name, str) and name.lower().endswith(_OURS) and os.path.isfile(name)  # noqa: PTH113


#: Cubes with a header beside them, which no other engine claims; NetCDF, Zarr and rasters have engines of their own.
_OURS = (".bsq", ".bil", ".bip")
