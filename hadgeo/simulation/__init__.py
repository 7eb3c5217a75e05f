"""Make georeferenced hyperspectral flight lines with implanted targets and their truth, of any size.

For examples, tests and benchmarks: files as real ones are laid out, content that is believable and known. A scene is
a pure function of its options, made and written strip by strip.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hadgeo.errors import Cancelled, OutputError, ParameterError
from hadgeo.files import check_output, written_together
from hadgeo.progress import SILENT, Stage
from hadgeo.simulation.scene import Scene
from hadgeo.simulation.spec import ORIGIN, SceneSpec, guess_format
from hadgeo.simulation.targets import Target
from hadgeo.simulation.writing import open_scene, open_truth

if TYPE_CHECKING:
    from hadgeo.progress import Progress

__all__ = ["SceneSpec", "SimulatedScene", "Target", "simulate"]

#: What names the scene on the command line.
_OPTION = "OUT"

# Bytes of a strip as float32; a strip also has at most this many rows.
_STRIP_BYTES, _STRIP_ROWS = 2**26, 64


@dataclass(frozen=True)
class SimulatedScene:
    """What was written.

    Attributes:
        path: The scene.
        truth: The truth: uint8 GeoTIFF on the same grid, 1 target, 0 background, 255 nodata.
        shape: (rows, cols, bands).
        target_pixels: Number of pixels that the truth marks as target.
        targets: What was implanted, by row.
    """

    path: Path
    truth: Path
    shape: tuple[int, int, int]
    target_pixels: int
    targets: tuple[Target, ...] = field(repr=False)


def simulate(
    path: str | os.PathLike[str],
    *,
    rows: int = 512,
    cols: int = 400,
    bands: int = 120,
    format: Literal["envi", "gtiff"] | None = None,
    interleave: Literal["bip", "bil", "bsq"] = "bip",
    dtype: Literal["int16", "float32"] = "int16",
    rotation: float = 0.0,
    wedges: float = 0.0,
    targets: int = 24,
    target_size: tuple[int, int] | None = None,
    abundance: float | None = None,
    snr: float = 150.0,
    seed: int = 0,
    flight: int = 0,
    crs: str = "EPSG:32633",
    pixel_size: float = 2.0,
    origin: tuple[float, float] = ORIGIN,
    compress: Literal["none", "deflate", "lzw", "zstd"] = "none",
    overwrite: bool = False,
    progress: Progress | None = None,
    strip_rows: int | None = None,
) -> SimulatedScene:
    """Write a simulated flight line, and its truth beside it as ``<stem>_truth.tif``.

    Memory depends on `cols` and `bands`, never on `rows`. The files appear under their names when they are complete.

    Args:
        path: The scene's file; an ENVI header goes beside it with the suffix ``.hdr``.
        rows: Rows, along the flight.
        cols: Columns.
        bands: Bands from 400 to 2500 nm.
        format: ``"envi"`` or ``"gtiff"``; by default what the suffix says, ENVI unless it is ``.tif``.
        interleave: ``"bip"``, ``"bil"`` or ``"bsq"``; a GeoTIFF is pixel-interleaved for ``"bip"``, and cannot be
            ``"bil"``.
        dtype: ``"int16"``, reflectance times 10,000, or ``"float32"``, reflectance.
        rotation: Degrees by which the grid is turned counter-clockwise against the coordinate system.
        wedges: Fraction of the pixels that are nodata (-9999), as left and right of an orthorectified line.
        targets: How many targets; each fills a share between 0.15 and 1 of 1 to 24 pixels.
        target_size: Height and width in pixels of every target, instead of a mixture.
        abundance: Share of its pixels that every target fills, above 0 and at most 1, instead of a mixture.
        snr: Signal-to-noise ratio of the best band at a reflectance of 0.3.
        seed: Other seeds are other places.
        flight: Other flights over a place see the same ground with other noise and other targets.
        crs: A projected coordinate system.
        pixel_size: Side of a pixel in the units of `crs`.
        origin: Easting and northing of the upper left corner, for flight lines side by side.
        compress: How a GeoTIFF's tiles are compressed; ENVI is raw.
        overwrite: Replace existing files.
        progress: Told of every strip; asked whether to stop.
        strip_rows: Rows made at a time, which changes the memory needed and not the files.

    Returns:
        What was written.

    Raises:
        ParameterError: An option is out of bounds, or the targets do not fit into the scene.
        OutputExistsError: An output exists and `overwrite` is not set.
        OutputError: The files cannot be written; nothing of them is left.
        Cancelled: `progress` asked to stop; nothing of the files is left.

    Examples:
        >>> simulate("line.img", rows=200, cols=100, rotation=12, seed=7).truth
        PosixPath('line_truth.tif')
    """
    path = Path(path)
    if strip_rows is not None and strip_rows < 1:
        raise ParameterError(f"strip_rows={strip_rows!r}: must be at least 1")
    spec = SceneSpec(
        rows=rows,
        cols=cols,
        bands=bands,
        format=format or guess_format(path),
        interleave=interleave,
        dtype=dtype,
        rotation=rotation,
        wedges=wedges,
        targets=targets,
        snr=snr,
        seed=seed,
        flight=flight,
        crs=crs,
        pixel_size=pixel_size,
        compress=compress,
        target_size=target_size,
        abundance=abundance,
        origin=origin,
    )
    outputs = _outputs(path, spec)
    _check_place(outputs, spec, overwrite)
    scene = Scene(spec)
    height = strip_rows or max(1, min(_STRIP_ROWS, _STRIP_BYTES // (4 * cols * bands)))
    with written_together(outputs, _OPTION) as folder:
        _write(scene, folder, outputs, height, progress or SILENT)
        # A side-car of the scene that was here before would be taken for the new one's.
        path.with_name(path.name + ".aux.xml").unlink(missing_ok=True)
    return SimulatedScene(path, outputs[1], (rows, cols, bands), scene.target_pixels, scene.targets)


def _outputs(path: Path, spec: SceneSpec) -> tuple[Path, ...]:
    """The scene, its truth, and its header if that is a file."""
    if not path.name or (spec.format == "envi" and path.suffix.lower() == ".hdr"):
        raise OutputError(
            f"{path}: not a name for the data file; give a name such as line.img, the header is written next to it"
        )
    outputs = (path, path.with_name(f"{path.stem}_truth.tif"))
    return (*outputs, path.with_suffix(".hdr")) if spec.format == "envi" else outputs


def _check_place(outputs: tuple[Path, ...], spec: SceneSpec, overwrite: bool) -> None:
    # What is overwritten stays until the new files are complete.
    for output in outputs:
        check_output(
            output, overwrite=overwrite, nbytes=spec.nbytes + spec.rows * spec.cols // 8 + 2**20, option=_OPTION
        )


def _write(scene: Scene, folder: Path, outputs: tuple[Path, ...], height: int, progress: Progress) -> None:
    """Write all strips into files of their final names in another folder."""
    spec = scene.spec
    progress.stage(Stage.SIMULATE, spec.rows * spec.cols)
    with contextlib.ExitStack() as stack:
        pixels = open_scene(folder / outputs[0].name, spec, scene.bands)
        stack.callback(pixels.release)
        truth = open_truth(folder / outputs[1].name, spec, outputs[0].name)
        stack.callback(truth.release)
        for start in range(0, spec.rows, height):
            if progress.cancelled():
                raise Cancelled(f"{outputs[0]}: stopped; no files were left behind")
            strip = scene.strip(start, min(start + height, spec.rows))
            pixels.write(start, strip.pixels)
            truth.write(start, strip.truth[:, :, None])
            progress.advance(strip.truth.size)
        pixels.close()
        truth.close()
