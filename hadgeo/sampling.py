"""What a detector is fitted on: statistics streamed over a scene, and crops spread over it.

Nothing here depends on the windows in which a scene is scored, nor on the memory that scoring may take: the same
scene, bands and seed give the same fit. A pixel counts where every used band is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.compute.executors import map_ahead
from hadgeo.compute.lanes import to_device
from hadgeo.compute.views import AS_IS, View
from hadgeo.errors import Cancelled, FitError
from hadgeo.formats.selected import PixelBits
from hadgeo.formats.source import Source
from hadgeo.formats.survey import band_index
from hadgeo.progress import SILENT, Progress, Stage
from hadgeo.windows import Holes, Window, pad, tile, window_size

#: Decoded bytes of one piece of a streamed pass: large enough to keep a disk and a matrix unit busy.
PIECE_BYTES = 32 * 2**20

#: Pixels of the crops that a large scene is fitted on; a smaller scene is used whole.
POOL_PIXELS = 2**18

#: Longest side of a crop where a scene is taken whole: what is computed on a crop is in memory several times over.
WHOLE_SIDE = 256

#: About how many spectra's moments a CPU takes at a time: their float64 copy stays in its cache.
_CHUNK_PIXELS = 2048

#: Squares over which pixels are averaged that are enough for the moments of averages.
_SQUARES = 2**17

_READ_AHEAD = 3


@dataclass
class Statistics:
    """First and second moments of spectra, mergeable piece by piece.

    Attributes:
        count: Number of pixels.
        mean: Mean spectrum, float64 (band).
        scatter: Sum of (x - mean)(x - mean)ᵀ, float64 (band, band); its diagonal alone, (band), where only variances
            were asked for.
        minimum: Smallest value of each band, float64 (band).
        maximum: Largest value of each band, float64 (band).
    """

    count: int
    mean: Tensor
    scatter: Tensor
    minimum: Tensor
    maximum: Tensor

    @classmethod
    def of(cls, spectra: Tensor, *, covariance: bool = True) -> Statistics:
        """Moments of one piece.

        Args:
            spectra: Finite spectra, (pixel, band), at least one pixel.
            covariance: Whether to keep the whole scatter matrix or its diagonal.
        """
        low, high = _extremes(spectra)
        x = spectra.to(torch.float64, copy=True)
        mean = x.mean(dim=0)
        x -= mean
        scatter = _gram(x) if covariance else (x * x).sum(dim=0)
        return cls(spectra.shape[0], mean, scatter, low.double(), high.double())

    def merge(self, other: Statistics) -> Statistics:
        """Moments of both pieces together.

        Pairwise update of Chan, Golub and LeVeque, "Algorithms for computing the sample variance",
        The American Statistician 37 (1983), eq. 2.1, for matrices.
        """
        count = self.count + other.count
        delta = other.mean - self.mean
        square = torch.outer(delta, delta) if self.scatter.ndim == 2 else delta * delta
        return Statistics(
            count,
            self.mean + delta * (other.count / count),
            self.scatter + other.scatter + square * (self.count * other.count / count),
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )

    def variances(self) -> Statistics:
        """The same with the diagonal of the scatter matrix alone."""
        return replace(self, scatter=self.scatter.diagonal().clone()) if self.scatter.ndim == 2 else self

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance, float64 (band, band); zero for a single pixel."""
        return self.scatter / max(self.count - 1, 1)

    @property
    def std(self) -> Tensor:
        """Standard deviation of each band, float64 (band)."""
        diagonal = self.scatter.diagonal() if self.scatter.ndim == 2 else self.scatter
        return (diagonal / max(self.count - 1, 1)).sqrt()


def _extremes(spectra: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each band of (pixel, band); on a CPU by numpy, which is twice as fast."""
    if spectra.device.type != "cpu":
        return spectra.amin(dim=0), spectra.amax(dim=0)
    array = spectra.numpy()
    return torch.from_numpy(array.min(axis=0)), torch.from_numpy(array.max(axis=0))


def _gram(x: Tensor) -> Tensor:
    """XᵀX of (pixel, band), float64; on a CPU by numpy, which computes one half of it and lets other threads run."""
    if x.device.type != "cpu":
        return x.T @ x
    array = x.numpy()
    return torch.from_numpy(array.T @ array)


def spectra_of(block: Tensor) -> Tensor:
    """View a cube as a matrix of spectra, without a copy where its memory layout is BSQ or BIP.

    Args:
        block: (band, y, x).

    Returns:
        (pixel, band), pixels row by row.
    """
    bands = block.shape[0]
    if block.stride(0) == 1:
        return block.permute(1, 2, 0).reshape(-1, bands)
    return block.reshape(bands, -1).T


def valid_pixels(block: Tensor) -> Tensor:
    """Where every band is finite.

    Args:
        block: (band, y, x).

    Returns:
        Bool (y, x).
    """
    # NaN and infinity survive a sum, which saves a mask as large as the block.
    return block.sum(dim=0).isfinite()


@dataclass(frozen=True)
class Scene:
    """A cube and the bands of it that are used.

    Attributes:
        source: The cube.
        bands: 0-based indices of the used bands.
        view: What is averaged.
        chosen: Pixels that are learned from, where the source holds nodata at all others: a sample of a scene is drawn
            where they are. None for all of them.
    """

    source: Source
    bands: Sequence[int]
    view: View = AS_IS
    chosen: PixelBits | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.source.shape[1:]

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    def read(self, window: Window) -> Tensor:
        """The used bands of a window and its halo as they are seen, (band, y, x)."""
        index = band_index(self.bands, self.source.shape[0])
        rows, cols = window.outer_rows, window.outer_cols
        outer = pad(Window(rows.start, cols.start, *window.outer_shape), self.view.reach, self.shape)
        block = torch.from_numpy(self.source.read(outer.outer_rows, outer.outer_cols, index))
        return self.view.of(block)[(slice(None), *outer.inner)]

    def piece_size(self, piece_bytes: int) -> tuple[int, int]:
        """Rows and columns of pieces of about so many decoded bytes that suit the way in which the file is stored."""
        pixels = max(1, piece_bytes // (len(self.bands) * self.source.dtype.itemsize))
        return window_size(self.shape, halo=0, max_pixels=pixels, block=self.source.block)

    def pieces(self, piece_bytes: int) -> list[Window]:
        """A partition into such pieces."""
        return list(tile(self.shape, self.piece_size(piece_bytes)))

    def holding(self, windows: Iterable[Window]) -> list[Window]:
        """Of some windows those in which a pixel is learned from."""
        chosen = self.chosen
        return [w for w in windows if chosen is None or chosen.get(w.rows, w.cols).any()]


T = TypeVar("T")

#: A window, and the scene in which it lies.
_Place = tuple[Scene, Window]


class Sample:
    """The pixels of one scene, or of several of one sensor, as a detector's `fit` sees them.

    Args:
        scenes: The scenes, each with equally many used bands, in the same order.
        executor: Reads pieces ahead of the arithmetic.
        device: Where statistics are computed.
        progress: Follows long passes.

    Attributes:
        bands: Number of used bands as they are seen.
    """

    def __init__(self, *scenes: Scene, executor: Executor, device: torch.device, progress: Progress = SILENT) -> None:
        self._scenes = scenes
        self._executor = executor
        self._device = device
        self._progress = progress
        self.bands = scenes[0].view.count(len(scenes[0].bands))
        self._empty: set[tuple[int, int]] = set()
        self._moments: dict[int | None, Statistics | None] = {}
        self._beside: tuple[Sample, ...] = (self,)

    def seen(self, view: View) -> Sample:
        """The same scenes, averaged; what is known of empty places is shared.

        Args:
            view: What is averaged.
        """
        scenes = (replace(scene, view=view) for scene in self._scenes)
        sample = Sample(*scenes, executor=self._executor, device=self._device, progress=self._progress)
        sample._empty = self._empty
        return sample

    def seen_together(self, views: Iterable[View]) -> dict[View, Sample]:
        """The same scenes averaged in several ways, whose moments are all taken in one pass once any are asked for.

        Args:
            views: What is averaged, each once.
        """
        samples = {view: self.seen(view) for view in views}
        for sample in samples.values():
            sample._beside = tuple(samples.values())
        return samples

    @property
    def _name(self) -> str:
        """The scenes, for messages."""
        return ", ".join(scene.source.path for scene in self._scenes)

    def _stream(self, places: Sequence[_Place], name: str, use: Callable[[Tensor, Window], T]) -> Iterator[T]:
        """What `use` makes of the pixels of each place, in order; it runs in the executor too."""
        self._progress.stage(name, sum(window.pixels for _, window in places))
        results = map_ahead(self._executor, lambda place: use(_read(place), place[1]), places, _READ_AHEAD)
        for (_, window), result in zip(places, results, strict=True):
            if self._progress.cancelled():
                raise Cancelled("stopped on request")
            yield result
            self._progress.advance(window.pixels)

    def stream(
        self,
        use: Callable[[Tensor, Window], T],
        *,
        halo: int = 0,
        pixels: int | None = None,
        square: int | None = None,
    ) -> Iterator[T]:
        """What a function makes of each piece of the scenes, in one streamed pass.

        Args:
            use: Called with the bands (band, y, x) of a piece and its halo, on the CPU, and the piece; from several
                threads, each of which has one core for matrix products.
            halo: Pixels of true neighbours wanted on each side.
            pixels: Look at about this many pixels, evenly spread, instead of all of them.
            square: Look at squares of this side, and at a scene of no more than its share of `pixels` in the largest
                that there are; by default at strips. A strip of few rows is smaller than a wide halo around it.

        Yields:
            Its results, piece by piece.
        """
        if square is None or pixels is None:
            chosen, stage = self.places(pixels), Stage.STATISTICS
        else:
            chosen, stage = self._squares(square, pixels), Stage.CROPS
        places = [(scene, pad(window, halo, scene.shape)) for scene, window in chosen]
        with threadpool_limits(1, user_api="blas"):
            yield from self._stream(places, stage, use)

    def merged(
        self,
        use: Callable[[Tensor, Window], Statistics | None],
        *,
        halo: int,
        pixels: int | None = None,
        square: int | None = None,
    ) -> Statistics | None:
        """Moments that a function makes of each piece, merged; of all pieces where a sample of them has none.

        Args:
            use: As for `stream`; gives None where nothing is valid.
            halo: As for `stream`.
            pixels: As for `stream`.
            square: As for `stream`.

        Returns:
            None where no piece has any.
        """
        total: Statistics | None = None
        for part in self.stream(use, halo=halo, pixels=pixels, square=square):
            if part is not None:
                total = part if total is None else total.merge(part)
        # Lines can be nearly empty.
        return self.merged(use, halo=halo) if total is None and pixels is not None else total

    def statistics(
        self,
        *,
        covariance: bool = True,
        pixels: int | None = None,
        keep: Callable[[Tensor], Tensor] | None = None,
    ) -> Statistics:
        """Moments of all scenes in one streamed pass; covariances of all pixels are kept for who asks again.

        Args:
            covariance: Whether to compute the covariance matrix or the variances alone.
            pixels: Look at about this many pixels, evenly spread, instead of all of them.
            keep: Which of valid spectra (pixel, band) count, as bool (pixel); by default all of them.

        Raises:
            FitError: Fewer than two pixels are valid, or all of them are equal.
        """
        pixels = None if self._is_whole(pixels) else pixels
        if keep is not None:
            return self._checked(self._pass((self,), pixels, covariance=covariance, keep=keep)[0])
        known = self._moments.get(pixels)
        if pixels not in self._moments or (covariance and known is not None and known.scatter.ndim == 1):
            others = (s for s in self._beside if pixels is None and pixels not in s._moments and s is not self)
            samples = (self, *others)
            for sample, total in zip(samples, self._pass(samples, pixels, covariance=covariance), strict=True):
                sample._moments[pixels] = total
        if pixels is not None and self._moments[pixels] is None:
            # Lines can be nearly empty.
            return self.statistics(covariance=covariance)
        total = self._checked(self._moments[pixels])
        return total if covariance else total.variances()

    def _pass(
        self,
        samples: Sequence[Sample],
        pixels: int | None,
        *,
        covariance: bool,
        keep: Callable[[Tensor], Tensor] | None = None,
        overlapping: bool = False,
    ) -> list[Statistics | None]:
        """Moments of several views of the same scenes, in one streamed pass; None where no pixel is valid.

        Args:
            samples: The views; the first asks, and says whether it needs a covariance.
            pixels: As for `statistics`.
            covariance: As for `statistics`.
            keep: As for `statistics`.
            overlapping: Whether averages are to be those around each pixel, however many there are.
        """
        device, places = double_device(self._device), self.places(pixels)
        views = [sample._scenes[0].view for sample in samples]
        looked_at = sum(window.pixels for _, window in places)
        # Averages over squares that overlap repeat each other, so where there are enough, each pixel is part of one.
        apart = [not overlapping and view.side > 1 and looked_at >= view.side**2 * _SQUARES for view in views]
        around = [(replace(s, view=AS_IS), pad(w, max(view.reach for view in views), s.shape)) for s, w in places]

        def moments(block: Tensor, window: Window) -> tuple[bool, list[Statistics | None]]:
            own, read = (window.rows, window.cols), (window.outer_rows, window.outer_cols)
            inner, grouped, found = (slice(None), *window.inner), {0: block}, []
            for number, (view, each) in enumerate(zip(views, apart, strict=True)):
                if view.bands not in grouped:
                    grouped[view.bands] = View(bands=view.bands).of(block)
                near, of_side = grouped[view.bands], View(side=view.side)
                seen = of_side.apart(near, own, read) if each else of_side.of(near)[inner]
                found.append(_moments(seen, device, covariance=covariance or number > 0, keep=keep))
            return any(found) or bool(valid_pixels(block[inner]).any()), found

        totals: list[Statistics | None] = [None] * len(samples)
        # Each thread of the executor takes a core for the matrix products of its own piece.
        with threadpool_limits(1, user_api="blas"):
            parts = self._stream(around, Stage.STATISTICS, moments)
            for (_, window), (any_valid, found) in zip(places, parts, strict=True):
                totals = [
                    part if total is None else total if part is None else total.merge(part)
                    for total, part in zip(totals, found, strict=True)
                ]
                if not any_valid and keep is None and self._is_whole(pixels):
                    self._empty.add((window.row, window.col))
        for number, (total, each) in enumerate(zip(totals, apart, strict=True)):
            # Of a large scene, hardly anything may be valid or learned from.
            if each and (total is None or total.count < _SQUARES // 2):
                asked = covariance or number > 0
                again = self._pass(samples[number : number + 1], pixels, covariance=asked, keep=keep, overlapping=True)
                totals[number] = again[0]
        return totals

    def _checked(self, total: Statistics | None) -> Statistics:
        """Moments from which a background can be learned.

        Raises:
            FitError: As for `statistics`.
        """
        if total is None or total.count < 2:
            count = 0 if total is None else total.count
            raise FitError(
                f"{self._name}: {count} valid pixels in the used bands, too few for a background; "
                "give a larger scene, or exclude bands that are nodata with --bands"
            )
        extreme = float(torch.maximum(total.minimum.abs(), total.maximum.abs()).max())
        if extreme > torch.finfo(torch.float32).max:
            raise FitError(
                f"{self._name}: values reach {extreme:.3g}, which nothing measured does; if that is nodata, name it "
                "with --fill, else divide the scene by a factor"
            )
        if torch.equal(total.minimum, total.maximum):
            raise FitError(
                f"{self._name}: all {total.count} valid pixels are equal, so there is nothing to detect; check the "
                "input, or choose other bands with --bands"
            )
        return total

    def _is_whole(self, pixels: int | None) -> bool:
        return pixels is None or pixels >= sum(scene.pixels for scene in self._scenes)

    def holes(self) -> Holes:
        """Where a whole pass over a single scene has found no valid pixel, so that nobody need read there again."""
        if len(self._scenes) > 1:
            return Holes()
        return Holes(self._scenes[0].piece_size(PIECE_BYTES), frozenset(self._empty))

    def places(self, pixels: int | None = None) -> list[_Place]:
        """The windows that `statistics` reads, and their scenes.

        Args:
            pixels: As for `statistics`.
        """
        if pixels is None or self._is_whole(pixels):
            return [(scene, window) for scene in self._scenes for window in scene.pieces(PIECE_BYTES)]
        chosen: list[_Place] = []
        share = math.ceil(pixels / len(self._scenes))
        for scene in self._scenes:
            # At least 32 places, so that a sample is spread over the whole line.
            windows = scene.holding(scene.pieces(max(1, share // 32) * len(scene.bands) * scene.source.dtype.itemsize))
            if scene.chosen is None:
                each: float = max(window.pixels for window in windows)
            else:
                each = scene.chosen.count / max(len(windows), 1)
            wanted = max(1, math.ceil(share / each))
            keep = np.unique(np.linspace(0, len(windows) - 1, min(wanted, len(windows))).round().astype(int))
            chosen += [(scene, windows[i]) for i in keep]
        return chosen

    def crops(self, *, size: int, pixels: int, seed: int) -> list[Tensor]:
        """Square pieces of the scenes, one from each cell of a regular grid, so that no part is left out.

        A scene of no more than its share of `pixels` comes whole, in one crop or a few large ones.

        Args:
            size: Rows and columns of a crop; less where the scene is smaller.
            pixels: About how many pixels to return together.
            seed: Chooses the place inside each cell.

        Returns:
            Blocks (band, y, x) on the CPU, of which at least one pixel in each is valid.

        Raises:
            FitError: No pixel is valid.
        """
        share = max(1, pixels // len(self._scenes))
        rng = np.random.default_rng(seed)
        places = [(scene, window) for scene in self._scenes for window in _crop_windows(scene, size, share, rng)]
        crops = [b for b in self._stream(places, Stage.CROPS, lambda block, _: block) if valid_pixels(b).any()]
        if not crops:
            # Lines can be nearly empty: then the valid pieces are looked for, not sampled.
            crops = self._first_valid(size, pixels)
        return crops

    def _squares(self, size: int, pixels: int) -> list[_Place]:
        """Squares as `crops` has them, always the same."""
        share, rng = max(1, pixels // len(self._scenes)), np.random.default_rng(0)
        return [(scene, window) for scene in self._scenes for window in _crop_windows(scene, size, share, rng)]

    def _first_valid(self, size: int, pixels: int) -> list[Tensor]:
        crops: list[Tensor] = []
        found = 0
        for scene in self._scenes:
            for window in tile(scene.shape, (size, size)):
                block = scene.read(window)
                if valid_pixels(block).any():
                    crops.append(block)
                    found += window.pixels
                if found >= pixels:
                    return crops
        if not crops:
            raise FitError(f"{self._name}: no pixel is valid in all used bands; choose other bands with --bands")
        return crops


def _read(place: _Place) -> Tensor:
    scene, window = place
    return scene.read(window)


def _moments(
    block: Tensor, device: torch.device, *, covariance: bool, keep: Callable[[Tensor], Tensor] | None
) -> Statistics | None:
    """Moments of the valid pixels of a block, a few rows at a time on a CPU; None where there are none."""
    rows = max(1, _CHUNK_PIXELS // max(1, block.shape[2])) if device.type == "cpu" else block.shape[1]
    total: Statistics | None = None
    for piece in torch.split(block, rows, dim=1):
        spectra = spectra_of(to_device(piece, device))
        valid = spectra.sum(dim=1).isfinite()
        if not valid.all():
            spectra = spectra[valid]
        if keep is not None and len(spectra):
            spectra = spectra[keep(spectra)]
        if len(spectra):
            part = Statistics.of(spectra, covariance=covariance)
            total = part if total is None else total.merge(part)
    return total


def _crop_windows(scene: Scene, size: int, pixels: int, rng: np.random.Generator) -> list[Window]:
    """Crops of one scene: all of it where it has no more than so many pixels."""
    rows, cols = scene.shape
    count = max(1, pixels // size**2)
    if rows * cols <= pixels:
        return list(tile(scene.shape, (_even_part(rows), _even_part(cols))))
    if scene.chosen is None:
        return list(_grid_crops(scene.shape, size, count, rng))
    # As many crops of the whole scene as leave about as many in the part of it that is learned from.
    everywhere = math.ceil(count * scene.pixels / max(scene.chosen.count, 1))
    found = scene.holding(_grid_crops(scene.shape, size, everywhere, rng))
    spread = np.linspace(0, len(found) - 1, min(count, len(found))).round()
    return [found[int(i)] for i in np.unique(spread)]


def _even_part(length: int) -> int:
    """Length of the fewest nearly equal parts that are no longer than `WHOLE_SIDE`."""
    return math.ceil(length / math.ceil(length / WHOLE_SIDE))


def _grid_crops(shape: tuple[int, int], size: int, count: int, rng: np.random.Generator) -> Iterator[Window]:
    """One crop at a random place of each cell of a grid of about `count` nearly square cells."""
    rows, cols = shape
    height, width = min(size, rows), min(size, cols)
    down = min(max(1, round(math.sqrt(count * rows / cols))), max(1, rows // height))
    across = min(max(1, round(count / down)), max(1, cols // width))
    for i in range(down):
        for j in range(across):
            low_row, high_row = i * rows // down, max((i + 1) * rows // down - height, i * rows // down)
            low_col, high_col = j * cols // across, max((j + 1) * cols // across - width, j * cols // across)
            row = min(int(rng.integers(low_row, high_row + 1)), rows - height)
            col = min(int(rng.integers(low_col, high_col + 1)), cols - width)
            yield Window(row, col, height, width)
