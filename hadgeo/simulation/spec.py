"""What a simulated scene is asked to be: checked options, and the geometry that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from rasterio.crs import CRS
from rasterio.errors import CRSError

from hadgeo.errors import ParameterError
from hadgeo.grid import Grid, turned

NODATA: Final = -9999
TRUTH_NODATA: Final = 255
#: Digital numbers of a reflectance of one in an int16 scene.
INT16_SCALE: Final = 10_000

FORMATS: Final = ("envi", "gtiff")
INTERLEAVES: Final = ("bip", "bil", "bsq")
DTYPES: Final = ("int16", "float32")
COMPRESSIONS: Final = ("none", "deflate", "lzw", "zstd")

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "rows": (8, 10_000_000),
    "cols": (8, 30_000),
    "bands": (4, 1000),
    "rotation": (-180, 180),
    "wedges": (0, 0.9),
    "targets": (0, 100_000),
    "snr": (1, 100_000),
    "seed": (0, 2**63 - 1),
    "flight": (0, 2**31 - 1),
    "pixel_size": (1e-3, 1e5),
}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "format": FORMATS,
    "interleave": INTERLEAVES,
    "dtype": DTYPES,
    "compress": COMPRESSIONS,
}
_LONGEST_TARGET = 100
_FARTHEST = 1e8
#: Where the upper left corner lies: a plausible place in the middle of most national and UTM grids.
ORIGIN: Final = (500_000.0, 5_200_000.0)


@dataclass(frozen=True)
class SceneSpec:
    """Options of a scene, checked. `hadgeo.simulation.simulate` says what they mean."""

    rows: int
    cols: int
    bands: int
    format: str
    interleave: str
    dtype: str
    rotation: float
    wedges: float
    targets: int
    snr: float
    seed: int
    flight: int
    crs: str
    pixel_size: float
    compress: str
    target_size: tuple[int, int] | None = None
    abundance: float | None = None
    origin: tuple[float, float] = ORIGIN

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            # A NaN fails both comparisons, and with them this one.
            if not low <= value <= high:
                raise ParameterError(f"{name}={value!r}: must be {low:g} to {high:g}")
        if self.target_size is not None and not all(1 <= side <= _LONGEST_TARGET for side in self.target_size):
            raise ParameterError(f"target_size={self.target_size!r}: each side must be 1 to {_LONGEST_TARGET} pixels")
        if self.abundance is not None and not 0 < self.abundance <= 1:
            raise ParameterError(f"abundance={self.abundance!r}: must be above 0 and at most 1")
        if not all(abs(value) <= _FARTHEST for value in self.origin):
            raise ParameterError(f"origin={self.origin!r}: must be map coordinates within {_FARTHEST:g} of 0")
        self._check_choices()
        if self.format == "gtiff" and self.interleave == "bil":
            raise ParameterError("interleave='bil': a GeoTIFF is either bip or bsq")
        if self.format == "envi" and self.compress != "none":
            raise ParameterError(f"compress={self.compress!r}: an ENVI scene is uncompressed, so it must be none")
        if not self.projection.is_projected:
            raise ParameterError(f"crs={self.crs!r}: must be a projected coordinate system, such as EPSG:32633")

    def _check_choices(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(allowed)}")

    @cached_property
    def projection(self) -> CRS:
        """The coordinate system."""
        try:
            return CRS.from_user_input(self.crs)
        except CRSError as error:
            raise ParameterError(f"crs={self.crs!r}: not a coordinate system; give one such as EPSG:32633") from error

    @cached_property
    def grid(self) -> Grid:
        """Where the pixels lie."""
        transform = turned(*self.origin, self.pixel_size, self.rotation)
        return Grid((self.rows, self.cols), self.projection, transform)

    @property
    def nbytes(self) -> int:
        """Size of the scene's pixels on disk, before compression."""
        return self.rows * self.cols * self.bands * (2 if self.dtype == "int16" else 4)


def guess_format(path: Path) -> str:
    """The format that a file's name stands for."""
    return "gtiff" if path.suffix.lower() in {".tif", ".tiff"} else "envi"
