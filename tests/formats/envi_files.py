"""ENVI files as tests need them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CODES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
AXES = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}
MAP_INFO = "{UTM, 1, 1, 500000, 4500000, 4, 4, 33, North, WGS-84, units=Meters}"


def numbered(bands: int = 5, rows: int = 7, cols: int = 6, dtype: str = "i2") -> npt.NDArray[Any]:
    """A cube in which every sample has a value of its own."""
    return np.arange(bands * rows * cols, dtype=dtype).reshape(bands, rows, cols)


def write_envi(
    path: Path,
    cube: npt.NDArray[Any],
    *,
    interleave: str = "bsq",
    byte_order: int = 0,
    offset: int = 0,
    compress: bool = False,
    header: str | None = None,
    **fields: Any,
) -> Path:
    """Write a cube (band, y, x) and its header; keyword arguments become fields, underscores blanks.

    Args:
        path: The data file.
        header: Name of the header file; the data file's with .hdr appended by default.
    """
    stored = np.ascontiguousarray(cube.transpose(AXES[interleave])).astype(cube.dtype.newbyteorder("<>"[byte_order]))
    data = bytes(offset) + stored.tobytes()
    path.write_bytes(gzip.compress(data) if compress else data)
    lines = {
        "samples": cube.shape[2],
        "lines": cube.shape[1],
        "bands": cube.shape[0],
        "header offset": offset,
        "file type": "ENVI Standard",
        "data type": CODES[cube.dtype.newbyteorder("=").str[1:]],
        "interleave": interleave,
        "byte order": byte_order,
        "map info": MAP_INFO,
        "wavelength": "{" + ", ".join(str(400 + 10 * i) for i in range(cube.shape[0])) + "}",
        **({"file compression": 1} if compress else {}),
        **{key.replace("_", " "): value for key, value in fields.items()},
    }
    text = "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)
    (path.parent / (header or f"{path.name}.hdr")).write_text(text)
    return path
