"""What every family of files looks like from the outside: a lazily read, decoded cube with its metadata.

A `Source` gives (band, y, x) windows as floating-point arrays, nodata as NaN, scale and offset applied. Decoding
happens inside the read, never after it: a dask slice is fused into the read only while nothing stands between, and
then costs exactly its own bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS


@dataclass(frozen=True)
class Metadata:
    """What is known of a cube besides its pixels.

    Attributes:
        driver: Name of the format, for people ("ENVI", "GTiff", "MATLAB 5").
        interleave: "bsq", "bil" or "bip", or None where the format has no such notion.
        stored_dtype: The type in which samples are stored, before decoding.
        crs: Coordinate reference system, or None.
        transform: Full affine, rotation and shear included; the identity where there is none.
        georeferenced: Whether the file itself carries a transform.
        wavelength: Band centres in nm, float64, or None.
        fwhm: Full widths at half maximum in nm, float64, or None.
        good: The sensor's own list of good bands (bbl), one bool a band; all True where there is none.
        nodata: The fill value in stored units, or None.
        scale: Factor from stored to physical units, a band each, or None for 1.
        offset: Offset added after scaling, a band each, or None for 0.
        band_names: Band descriptions, or None.
        warnings: One line for each thing that is missing or odd, for the log.
    """

    driver: str
    stored_dtype: np.dtype[Any]
    interleave: str | None = None
    crs: CRS | None = None
    transform: Affine = field(default_factory=Affine.identity)
    georeferenced: bool = False
    wavelength: npt.NDArray[np.float64] | None = None
    fwhm: npt.NDArray[np.float64] | None = None
    good: npt.NDArray[np.bool_] | None = None
    nodata: float | None = None
    scale: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    band_names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


class Source(ABC):
    """A cube on disk, read window by window. Safe to use from several threads, and to pickle (it reopens its file).

    Attributes:
        path: The file as the user named it.
        shape: Bands, rows, columns.
        dtype: The decoded type: float32 where it holds every stored value exactly, else float64.
        block: Rows and columns of the blocks in which the file is stored; None for a raw file, where any strip is cheap.
        metadata: What is known besides the pixels.
    """

    ndim = 3
    path: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    block: tuple[int, int] | None
    metadata: Metadata

    @abstractmethod
    def read(
        self, rows: slice, cols: slice, bands: npt.NDArray[np.intp] | slice = slice(None)
    ) -> npt.NDArray[np.floating[Any]]:
        """Read and decode a window.

        Args:
            rows: Rows, with start and stop inside the scene and step 1.
            cols: Columns, likewise.
            bands: Indices of the wanted bands, or a slice of them.

        Returns:
            Array (band, y, x) of `dtype`, freshly made, in whatever memory layout the file's own interleave gives
            (a transposed view for BIP and BIL). Nodata, and anything not finite, is NaN.

        Raises:
            ReadError: The file ends too early or cannot be decoded.
        """

    def __getitem__(self, key: tuple[Any, ...]) -> npt.NDArray[np.floating[Any]]:
        """Read by slices, as dask asks for them."""
        bands, rows, cols = (_as_slice(k, n) for k, n in zip(key, self.shape, strict=True))
        return self.read(rows, cols, bands)


def _as_slice(key: Any, size: int) -> slice:
    if not isinstance(key, slice) or key.step not in (None, 1):
        raise TypeError(f"a source is read by slices of step 1, not by {key!r}")
    start, stop, _ = key.indices(size)
    return slice(start, stop)


def decoded_dtype(stored: np.dtype[Any]) -> np.dtype[Any]:
    """The floating-point type that holds every value of a stored type: float32 up to 16-bit integers, else float64."""
    return np.result_type(stored, np.float32)


def decode(
    raw: npt.NDArray[Any],
    metadata: Metadata,
    bands: npt.NDArray[np.intp] | slice = slice(None),
    band_axis: int = 0,
) -> npt.NDArray[np.floating[Any]]:
    """Turn stored samples into physical ones, in their own memory layout.

    Args:
        raw: Stored samples; never changed.
        metadata: Fill value, scale and offset.
        bands: Which bands of the cube `raw` holds, in order.
        band_axis: The axis of `raw` that counts bands.

    Returns:
        A new array of the shape and layout of `raw`: stored * scale + offset; the fill value, and anything not finite, is NaN.
    """
    out = raw.astype(decoded_dtype(raw.dtype), order="K", copy=True)
    if np.issubdtype(raw.dtype, np.floating):
        # Infinity is no measurement either.
        out[~np.isfinite(out)] = np.nan
    if metadata.nodata is not None and not np.isnan(metadata.nodata):
        # Compared in the stored type: -50.003 read from a text header is not the float32 in the file.
        fill = raw.dtype.type(metadata.nodata) if _fits(metadata.nodata, raw.dtype) else None
        if fill is not None:
            out[raw == fill] = np.nan
    axes = [1, 1, 1]
    axes[band_axis] = -1
    if metadata.scale is not None:
        out *= metadata.scale[bands].astype(out.dtype).reshape(axes)
    if metadata.offset is not None:
        out += metadata.offset[bands].astype(out.dtype).reshape(axes)
    return out


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Whether a fill value can occur in samples of a type at all."""
    if np.issubdtype(dtype, np.floating):
        return True
    info = np.iinfo(dtype)
    return float(value).is_integer() and info.min <= value <= info.max
