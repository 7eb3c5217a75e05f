"""What a detector learns from: all of a scene, or the pixels of regions, less those of suppressed surfaces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hadgeo.errors import FitError, ParameterError, RegionElsewhereError, RegionError
from hadgeo.files import check_no_input, check_output, check_tiff_name
from hadgeo.formats.overlay import files_of
from hadgeo.formats.regions import keep_inside, keep_outside
from hadgeo.formats.selected import PixelBits, Selected, kept_pixels
from hadgeo.formats.source import Source
from hadgeo.formats.surfaces import LIKE, Surfaces, as_text, describe_surfaces, find_surfaces, parse_surfaces
from hadgeo.maps.part_folder import names_written
from hadgeo.progress import SILENT, Progress
from hadgeo.run.reviewed import Unwanted, excluded_only, excluded_told
from hadgeo.run.score_job import stamp_files

#: What pixels of a suppressed surface are left out of.
SuppressFrom = Literal["learning", "map"]

#: By this the message that says how many pixels are left is known.
LEFT = "are left for learning"

#: Surfaces, with or without thresholds; see `parse_surfaces`.
SurfacesLike = str | Sequence[str] | Mapping[str, float]


@dataclass(frozen=True)
class Learning:
    """What a detector learns from; see `learning`.

    Attributes:
        background: The region to learn from, or None for all of a scene.
        exclude: The region not to learn from, or None.
        suppress: Threshold of each surface that is not learned from.
        suppress_from: Whether such surfaces are left out of learning alone, or of the map as well.
        unwanted: Pixels like one of these spectra are left out of both.
    """

    background: Path | None
    exclude: Path | None
    suppress: Mapping[str, float]
    suppress_from: SuppressFrom
    unwanted: Unwanted | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of both regions, and of unwanted spectra."""
        regions = (file for region in (self.background, self.exclude) if region for file in files_of(region))
        return (*regions, *(() if self.unwanted is None else self.unwanted.files))

    @property
    def suppressed(self) -> Mapping[str, float]:
        """Threshold of everything that is not learned from; what is unwanted comes before surfaces."""
        return {**({} if self.unwanted is None else {LIKE: self.unwanted.angle}), **self.suppress}

    @property
    def unscored(self) -> tuple[str, ...]:
        """What of that gets no score either."""
        return tuple(name for name in self.suppressed if name == LIKE or self.suppress_from == "map")

    @property
    def settings(self) -> dict[str, Any]:
        """What a fit depends on, by names for people; files by their size and time of change."""
        found: dict[str, Any] = {}
        for name, region in (("background", self.background), ("exclude", self.exclude)):
            if region is not None:
                found[name] = [list(file) for file in stamp_files(files_of(region))]
        if self.suppress:
            found |= {"suppress": as_text(self.suppress), "suppress from": self.suppress_from}
        if self.unwanted is not None:
            found["suppress like"] = [self.unwanted.digest, self.unwanted.angle]
        return found

    @property
    def regions_told(self) -> list[str]:
        """The regions, for people, by the names of the files."""
        inside = [] if self.background is None else [f"inside {self.background.name}"]
        return inside if self.exclude is None else [*inside, f"outside {excluded_told(self.exclude)}"]

    @property
    def told(self) -> str:
        """What is learned from, for people."""
        without = [f"without {describe_surfaces(self.suppressed)}"] if self.suppressed else []
        return ", ".join([*self.regions_told, *without])

    def of_map(self) -> Learning | None:
        """What is left of this where a model is applied and nothing is learned; None where nothing is."""
        if not self.unscored:
            return None
        surfaces = self.suppress if self.suppress_from == "map" else {}
        return Learning(None, None, surfaces, self.suppress_from, self.unwanted)

    def check_model(self) -> None:
        """Refuse what a model, which has been fitted, can no longer heed.

        Raises:
            ParameterError: A region is given, or a surface shall be left out of learning alone.
        """
        said = {"background": self.background is not None, "exclude": self.exclude is not None}
        said["suppress"] = bool(self.suppress) and self.suppress_from == "learning"
        for name, is_given in said.items():
            if is_given:
                hint = "; to leave surfaces out of the map, add --suppress-from map" if name == "suppress" else ""
                raise ParameterError(
                    f"--{name}: a model is not fitted again, so there is nothing to learn; omit it, or train another "
                    f"model with it{hint}"
                )

    def look(
        self, source: Source, executor: Executor, progress: Progress = SILENT, *, one_of_several: bool = False
    ) -> Look:
        """Find the pixels of a scene that are learned from.

        Args:
            source: The scene.
            executor: Reads ahead where surfaces are looked for.
            progress: Follows that and may cancel it.
            one_of_several: Whether an excluded region may lie in other scenes alone.

        Raises:
            CubeNotFoundError: There is no such region.
            RegionError: A region cannot be used, has no pixel of the scene in it, or no pixel is left.
            BandError: The scene lacks bands by which a surface is told.
            ReadError: Something cannot be read.
            MissingExtraError: Polygons need pyogrio and shapely.
            Cancelled: `progress` asked for it.
        """
        whole = kept_pixels(source)
        chosen, missed = whole, None
        if self.background is not None:
            chosen = keep_inside(chosen, source, self.background)
        if self.exclude is not None:
            try:
                chosen = keep_outside(chosen, source, self.exclude, only=excluded_only(self.exclude))
            except RegionElsewhereError as error:
                if not one_of_several:
                    raise
                missed = error
        # The map, and a mask of surfaces, are of the whole scene.
        like = None if self.unwanted is None else self.unwanted.angles_at(source)
        within = None if self.suppressed else chosen
        found = find_surfaces(source, self.suppressed, executor, progress, within=within, like=like)
        seen, selected = chosen & found.data, found.outside(chosen)
        counts, left = found.counts(seen), found.outside(seen).count
        if not left:
            raise self._nothing_left(source, seen.count, counts)
        scored: Source = source
        if self.unscored:
            scored = Unsuppressed(source, found.outside(whole, self.unscored), self._unscored_told)
        unscored = {name: count for name, count in found.counts(whole).items() if name in self.unscored}
        return Look(
            self, source, Selected(source, selected), scored, left, whole.count, found, counts, unscored, missed
        )

    @property
    def _unscored_told(self) -> str:
        """What gets no score, as `variant` has it."""
        thresholds = {name: self.suppressed[name] for name in self.unscored}
        return as_text(thresholds) + (f" {self.unwanted.digest}" if self.unwanted is not None else "")

    def _nothing_left(self, source: Source, chosen: int, counts: Mapping[str, int]) -> RegionError:
        """What to say where there is nothing to learn from."""
        regions = " and ".join(str(region) for region in (self.background, self.exclude) if region is not None)
        if chosen:
            return RegionError(
                f"{source.path}: all {chosen:,} pixels that could be learned from are suppressed "
                f"({describe_surfaces(self.suppressed, counts)}); suppress fewer surfaces, or change their thresholds"
            )
        if regions:
            return RegionError(
                f"{regions}: {source.path} has no data in the pixels that are left for learning; choose a region where "
                "it has"
            )
        return RegionError(
            f"{source.path}: no pixel has data in the bands by which {' and '.join(self.suppressed)} are told; do not "
            "suppress them, or correct the list of good bands in the file's header"
        )


class Unsuppressed(Selected):
    """A scene without its suppressed surfaces, which are nodata.

    Args:
        source: The scene.
        chosen: The pixels that stay.
        suppressed: The surfaces, as `as_text` gives them.
    """

    def __init__(self, source: Source, chosen: PixelBits, suppressed: str) -> None:
        super().__init__(source, chosen)
        self._suppressed = suppressed

    @property
    def variant(self) -> str:
        """Without which surfaces; see `Source.variant`."""
        return f"{super().variant} without {self._suppressed}".strip()


@dataclass(frozen=True)
class Look:
    """What a look at a scene found to learn from.

    Attributes:
        learning: What was looked for.
        source: The scene.
        learned: The scene with nodata wherever it is not learned from.
        scored: The scene with nodata where the map shall have none.
        left: Pixels that are left to learn from: with data in the bands that were looked at.
        of: Pixels of the scene, without those that masks leave out.
        surfaces: What was found in each pixel.
        counts: Pixels of each surface, among those that the regions leave.
        unscored: Pixels of each surface that gets no score, in all of the scene.
        missed: Why nothing is excluded, where that is so although a region was given.
    """

    learning: Learning
    source: Source
    learned: Selected
    scored: Source
    left: int
    of: int
    surfaces: Surfaces
    counts: Mapping[str, int]
    unscored: Mapping[str, int]
    missed: RegionElsewhereError | None = None

    def message(self, *, fitted: bool) -> str:
        """What was found, for the log.

        Args:
            fitted: Whether nothing is learned, since a model is applied.
        """
        scene = f"{self.of:,} pixels of {self.source.path}"
        thresholds = self.learning.suppressed
        without = describe_surfaces({name: thresholds[name] for name in self.unscored}, self.unscored)
        if fitted:
            return f"{sum(self.unscored.values()):,} of {scene} get no score: {without}"
        regions = Learning(self.learning.background, None, {}, "learning") if self.missed else self.learning
        suppressed = describe_surfaces(thresholds, self.counts)
        told = [*regions.regions_told, *([f"without {suppressed}"] if self.counts else [])]
        unscored = f"; {without} get no score either" if self.unscored else ""
        if self.unscored and self.unscored == self.counts:
            unscored = ", which get no score either"
        return f"{self.left:,} of {scene} {LEFT}: {', '.join(told) or 'all of them'}{unscored}"


def learning(
    background: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    suppress: SurfacesLike | None = None,
    suppress_from: SuppressFrom = "learning",
    unwanted: Unwanted | None = None,
) -> Learning | None:
    """What a detector shall learn from, as a user says it; None where that is all of a scene.

    Args:
        background: A raster or polygons of what to learn from.
        exclude: A raster or polygons of what not to learn from.
        suppress: Surfaces not to learn from; see `hadgeo.formats.surfaces.parse_surfaces`.
        suppress_from: ``"learning"``, or ``"map"`` to give such pixels no score either.
        unwanted: Spectra; pixels like one of them are neither learned from nor scored.

    Raises:
        ParameterError: A surface or a threshold is unknown or out of bounds.
    """
    if suppress_from not in ("learning", "map"):
        raise ParameterError(f"suppress_from={suppress_from!r}: write learning or map")
    if suppress is None and suppress_from == "map":
        raise ParameterError("--suppress-from map: nothing is suppressed; add --suppress vegetation,water,shadow")
    if background is None and exclude is None and suppress is None and unwanted is None:
        return None
    inside, outside = (None if region is None else Path(region) for region in (background, exclude))
    return Learning(inside, outside, {} if suppress is None else parse_surfaces(suppress), suppress_from, unwanted)


def check_regions(learning: Learning | None, out: Path) -> None:
    """Refuse to write over a region.

    Raises:
        OutputError: A name under which `out` grows or ends is that of a file of a region.
    """
    for name in names_written(out):
        check_no_input(name, () if learning is None else learning.files, told="a region to learn from, or a part of it")


def check_surface_mask(
    path: Path | None, learning: Learning | None, source: Source, out: Path, *, overwrite: bool
) -> None:
    """Refuse early a mask of surfaces that could not be written late.

    Raises:
        ParameterError: Nothing is suppressed.
        OutputError: As for `hadgeo.files.check_output`.
    """
    if path is None:
        return
    if learning is None or not learning.suppressed:
        raise ParameterError(
            f"--suppressed-mask {path}: nothing is suppressed; add --suppress vegetation,water,shadow, or omit it"
        )
    check_tiff_name(path, "--suppressed-mask")
    inputs = (*source.files, *learning.files, *names_written(out))
    check_output(
        path, overwrite=overwrite, inputs=inputs, nbytes=source.shape[1] * source.shape[2], option="--suppressed-mask"
    )


def look_at(
    sources: Sequence[Source], learning: Learning | None, executor: Executor, progress: Progress = SILENT
) -> list[Look]:
    """Find the pixels of all scenes of a fit that are learned from, and say how many they are.

    Args:
        sources: The scenes.
        learning: What is learned from, or None for all of them.
        executor: As for `Learning.look`.
        progress: As for `Learning.look`.

    Returns:
        One look a scene; none where all of them is learned from.

    Raises:
        HadgeoError: As for `Learning.look`; an excluded region need have pixels of one of the scenes in it.
    """
    if learning is None:
        return []
    looks = [learning.look(source, executor, progress, one_of_several=len(sources) > 1) for source in sources]
    missed = [look.missed for look in looks if look.missed is not None]
    if len(missed) == len(looks):
        raise missed[0]
    for look in looks:
        progress.message(look.message(fitted=False))
    return looks


@contextmanager
def fitting(looks: Sequence[Look]) -> Iterator[None]:
    """Say of a fit that fails that only some pixels were learned from.

    Args:
        looks: What is learned from; nothing where that is all of the scenes.

    Raises:
        FitError: As the fit raises it.
    """
    try:
        yield
    except FitError as error:
        if not looks:
            raise
        reason = str(error).split("; ")[0]
        names = " and ".join(look.source.path for look in looks)
        left = sum(look.left for look in looks)
        raise FitError(
            f"the {left:,} pixels of {names} that are left for learning ({looks[0].learning.told}) do not determine a "
            f"background: {reason}; choose a larger region, with data in it, or suppress less"
        ) from None
