"""What a caller may name a scene by, and the source behind it; a file needs neither xarray nor dask."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hadgeo.errors import CubeWarning, ParameterError
from hadgeo.formats import Source, open_source
from hadgeo.formats.reading import AS_IT_SAYS, Reading

if TYPE_CHECKING:
    import xarray as xr

#: What a caller may name a scene by: a file, a cube (band, y, x), or a source that was opened before.
SceneLike: TypeAlias = "str | os.PathLike[str] | xr.DataArray | Source"


def as_source(scene: SceneLike, *, reading: Reading = AS_IT_SAYS) -> Source:
    """The source behind a scene, however a caller names it; a file is opened, and its warnings are given.

    Args:
        scene: A file, a cube (band, y, x) from `open_cube` or of your own, or a source, which is handed back.
        reading: What you know about a file that does not state it, or states it wrongly.

    Raises:
        CubeNotFoundError: The file does not exist.
        CubeError: It cannot be used as a cube, or an array has other dimensions.
        ParameterError: It is something else.
    """
    if isinstance(scene, Source):
        return scene
    if isinstance(scene, str | os.PathLike):
        source = open_source(scene, reading=reading)
        give_warnings(source)
        return source
    # Loading xarray and dask takes nearly as long as a small scene, and a file needs neither.
    import xarray as xr

    if isinstance(scene, xr.DataArray):
        from hadgeo.cube.arrays import source_of

        return source_of(scene)
    raise no_scene(scene, "a file or an xarray.DataArray with the dimensions band, y and x,")


def give_warnings(source: Source) -> None:
    """Warn of what is missing or odd in a file that was opened, and of what was assumed."""
    for line in (*source.metadata.warnings, *source.metadata.assumed):
        warnings.warn(f"{source.path}: {line}", CubeWarning, stacklevel=3)


def no_scene(given: object, wanted: str) -> ParameterError:
    """What to say of an argument that is not a scene."""
    hint = ""
    if isinstance(given, np.ndarray | list | tuple):
        hint = "; wrap an array as xarray.DataArray(values, dims=('band', 'y', 'x'))"
    return ParameterError(f"a scene is {wanted} not {type(given).__name__}{hint}")
