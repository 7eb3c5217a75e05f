"""Spectra and pictures from a scene's own pixels, read with QGIS's GDAL.

Not through a layer's data provider: of a rotated flight line, that has resampled pixels and not the measured ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from osgeo import gdal

from . import bands

#: Pixels to each side of an anomaly in which its usual surroundings are sought; as the backend's evidence has it.
SURROUNDINGS = 10

#: Of an anomaly that is wider or higher than this, the part around its middle is looked at.
LARGEST_SIDE = 64

#: Pixels of a chip's side, odd.
CHIP_SIDE = 41

#: Ratio of the standard deviation of a normal distribution to the median of its absolute value.
_NORMAL = 1.4826

#: Fewer surrounding pixels do not tell what is usual.
_FEWEST_AROUND = 8


#: GDAL's coefficients where coordinates are columns and rows.
_PIXELS = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)

#: What GDAL says of such a raster, where it says anything.
_NO_PLACE = (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


class SceneError(Exception):
    """A scene cannot be read; the message is one line for the user."""


@dataclass(frozen=True)
class Look:
    """Spectra at an anomaly or a pixel.

    Attributes:
        spectrum: (band,) the mean over its pixels, in the scene's units; NaN where there is no data.
        expected: (band,) the median of the surroundings, or what the detector expected.
        spread: (band,) the usual size of the difference; NaN where it is not known.
        pixels: How many pixels the spectrum is the mean of.
        told: What is expected, for people.
    """

    spectrum: np.ndarray
    expected: np.ndarray
    spread: np.ndarray
    pixels: int
    told: str = "median of the surroundings"


class Scene:
    """A hyperspectral raster.

    Args:
        path: What GDAL opens.

    Attributes:
        wavelengths: (band,) in nm, NaN where it is not known.
        good: (band,) which bands say something; whoever knows better may replace it.
        placed: Whether it has coordinates on a map.
        colours: Indices of the bands shown in red, green and blue, and what they show.

    Raises:
        SceneError: It cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._dataset = gdal.Open(path)
        except RuntimeError:  # where someone has asked GDAL for exceptions
            self._dataset = None
        if self._dataset is None:
            raise SceneError(f"{path} cannot be read")
        self.shape = (self._dataset.RasterCount, self._dataset.RasterYSize, self._dataset.RasterXSize)
        self.wavelengths = bands.wavelengths(self._dataset)
        self.good = bands.good_bands(self._dataset, self.wavelengths)
        self.colours, self.shows = bands.colour_bands(self.wavelengths, self.good)
        forward = self._dataset.GetGeoTransform(can_return_null=True)
        self.placed = forward is not None and tuple(forward) not in (_PIXELS, _NO_PLACE)
        self._forward = tuple(forward) if self.placed else _PIXELS
        self._inverse = gdal.InvGeoTransform(self._forward)
        described = [self._dataset.GetRasterBand(i + 1) for i in range(self.shape[0])]
        self._scale = np.array([_or(band.GetScale(), 1.0) for band in described])[:, None, None]
        self._offset = np.array([_or(band.GetOffset(), 0.0) for band in described])[:, None, None]
        self._nodata = np.array([_or(band.GetNoDataValue(), np.nan) for band in described])[:, None, None]

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the scene's coordinate system lies, as row and column; whole numbers are corners."""
        a, b, c, d, e, f = self._inverse
        return d + e * x + f * y, a + b * x + c * y

    def place(self, row: float, col: float) -> tuple[float, float]:
        """Where a corner of a pixel lies in the scene's coordinate system; the way back from `pixel`."""
        a, b, c, d, e, f = self._forward
        return a + b * col + c * row, d + e * col + f * row

    def inside(self, row: int, col: int) -> bool:
        """Whether there is such a pixel."""
        return 0 <= row < self.shape[1] and 0 <= col < self.shape[2]

    def read(self, rows: slice, cols: slice, numbers=None) -> np.ndarray:
        """Read a window in the scene's units.

        Args:
            rows: Rows within the scene.
            cols: Columns within the scene.
            numbers: Indices of bands, all of them by default.

        Returns:
            (band, y, x), NaN where there is no data.

        Raises:
            SceneError: The file is damaged or gone.
        """
        wanted = list(range(self.shape[0])) if numbers is None else list(numbers)
        # GDAL takes no numbers of numpy's.
        window = [int(n) for n in (cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)]
        try:
            if numbers is None:
                stored = self._dataset.ReadAsArray(*window)
            else:
                stored = np.array([self._dataset.GetRasterBand(i + 1).ReadAsArray(*window) for i in wanted])
        except (RuntimeError, TypeError, ValueError):
            stored = None
        if stored is None or stored.dtype == object:
            raise SceneError(f"{self.path}: a part of the file cannot be read")
        values = stored.reshape(len(wanted), rows.stop - rows.start, cols.stop - cols.start).astype(np.float64)
        empty = values == self._nodata[wanted]
        values = values * self._scale[wanted] + self._offset[wanted]
        values[empty] = np.nan
        return values

    def look(self, here: np.ndarray, around: np.ndarray, corner: tuple[int, int]) -> Look:
        """Compare some pixels with those around them.

        Args:
            here: (y, x) which pixels of a window to look at, at least one.
            around: (y, x) which of them are usual.
            corner: Row and column at which the window begins.

        Raises:
            SceneError: The file is damaged or gone.
        """
        rows, cols = (slice(at, at + size) for at, size in zip(corner, here.shape))
        values = self.read(rows, cols)
        # Only what is measured in every band that counts is a spectrum.
        valid = np.isfinite(values[self.good] if self.good.any() else values).all(axis=0)
        here, around = here & valid, around & valid & ~here
        unknown = np.full(self.shape[0], np.nan)
        spectrum = values[:, here].mean(axis=1) if here.any() else unknown
        expected = np.median(values[:, around], axis=1) if around.any() else unknown
        spread = unknown
        if around.sum() >= _FEWEST_AROUND:
            spread = _NORMAL * np.median(np.abs(values[:, around] - expected[:, None]), axis=1)
        return Look(spectrum, expected, spread, int(here.sum()))

    def surroundings(self, rows: tuple[int, int], cols: tuple[int, int]) -> tuple[slice, slice]:
        """The window around a rectangle of pixels, first and last, or around the middle of a large one."""
        made = []
        for (first, last), length in zip((rows, cols), self.shape[1:]):
            middle = (first + last) // 2
            low = max(first, middle - LARGEST_SIDE // 2)
            high = min(last + 1, middle + LARGEST_SIDE // 2)
            made.append(slice(max(0, low - SURROUNDINGS), min(length, high + SURROUNDINGS)))
        return made[0], made[1]

    def chip(self, row: int, col: int) -> np.ndarray:
        """The surroundings of a pixel in three colours, stretched by themselves from the 2nd to the 98th percentile.

        Returns:
            (`CHIP_SIDE`, `CHIP_SIDE`, 4), uint8: red, green, blue and opacity, which is 0 beyond the scene.

        Raises:
            SceneError: The file is damaged or gone.
        """
        half, picture = CHIP_SIDE // 2, np.zeros((CHIP_SIDE, CHIP_SIDE, 4), dtype=np.uint8)
        places = zip((row, col), self.shape[1:])
        rows, cols = (slice(max(0, at - half), min(length, at + half + 1)) for at, length in places)
        seen = self.read(rows, cols, self.colours)
        valid = np.isfinite(seen).all(axis=0)
        if not valid.any():
            return picture
        low, high = np.percentile(seen[:, valid], (2, 98), axis=1)[..., None, None]
        stretched = np.nan_to_num((seen - low) / np.where(high > low, high - low, 1)).clip(0, 1)
        inside = picture[rows.start - row + half :, cols.start - col + half :][: valid.shape[0], : valid.shape[1]]
        inside[..., :3] = np.rint(255 * stretched * valid).transpose(1, 2, 0)
        inside[..., 3] = 255 * valid
        return picture


def _or(value, instead: float) -> float:
    return instead if value is None else float(value)


def dilated(mask: np.ndarray) -> np.ndarray:
    """A mask, and the pixels that touch it."""
    padded = np.pad(mask, 1)
    rows, cols = mask.shape
    shifted = [padded[i : i + rows, j : j + cols] for i in range(3) for j in range(3)]
    return np.logical_or.reduce(shifted)
