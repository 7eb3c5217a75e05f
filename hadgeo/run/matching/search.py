"""A search for a known spectrum: the target at the bands of a scene, in its units, and the detector that looks for it.

From there on a match is a detection: the engine, its maps and all that is made of them do not know the difference.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hadgeo.bands import BandSelection
from hadgeo.cube import SceneLike, as_source
from hadgeo.detectors.base import Detector
from hadgeo.detectors.matchers import LEARNING, Matcher, background_of, narrowed
from hadgeo.detectors.registry import DEFAULT_MATCHER, MATCHERS, make_detector
from hadgeo.errors import ModelError, ParameterError, TargetError
from hadgeo.files import check_no_input
from hadgeo.formats.source import Source
from hadgeo.formats.survey import survey
from hadgeo.progress import SILENT, Progress
from hadgeo.run.engine import Detection, detect, output_path
from hadgeo.run.matching.anomaly_spectrum import read_anomaly
from hadgeo.run.matching.resampling import at_bands
from hadgeo.run.matching.spectrum_files import read_spectrum
from hadgeo.run.matching.target import Target, Values, make_target
from hadgeo.run.model_file import Model, Spectrum
from hadgeo.run.selection import MIN_BANDS, scene_of_model, usable_bands

if TYPE_CHECKING:
    import xarray as xr

#: Reflectance reaches hardly more than 1, and more than 2 % of the light comes back from some pixel of any scene: the
#: largest values up to which a spectrum is reflectance from 0 to 1, or in percent. Beyond, it is times 10,000.
_SCALES = ((2.0, 1.0, "0 to 1"), (200.0, 100.0, "percent"), (np.inf, 10_000.0, "times 10,000"))

#: By what scenes of two products may differ in scale.
_BETWEEN_PRODUCTS = (1e-4, 1e-2, 1.0, 1e2, 1e4)


@dataclass(frozen=True)
class Search:
    """What is looked for, and how.

    Attributes:
        target: The spectrum.
        method: ``ace``, ``mf``, ``cem`` or ``sam``.
        parameters: Hyper-parameters of the method by name, as values or as text.
        scale: What the target's values are multiplied with to be in the units of a scene; judged by magnitude if None.
        model: Holds the background, instead of each scene; a model of RX or of a matcher.

    Raises:
        ParameterError: The method or a parameter is unknown or out of bounds.
        ModelError: The model has no mean and covariance.
    """

    target: Target
    method: str = DEFAULT_MATCHER
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scale: float | None = None
    model: Model | None = None

    def __post_init__(self) -> None:
        if self.method not in MATCHERS:
            raise ParameterError(f"no method {self.method!r}; there are {', '.join(MATCHERS)}")
        for name in ("target", "others", "target_name"):
            if name in self.parameters:
                raise ParameterError(f"{name} is no parameter to be given: the spectrum itself is")
        if self.scale is not None and not 0 < self.scale < np.inf:
            raise ParameterError(f"the scale of a target must be above 0, not {self.scale:g}")
        learning = [name for name in self.parameters if name in LEARNING]
        if self.model is not None and learning:
            raise ParameterError(f"{learning[0]} says how a background is learned, and a model holds one; omit it")
        make_detector(self.method, dict(self.parameters))
        if self.model is not None and background_of(self.model.detector) is None:
            raise ModelError(
                f"a model of {self.model.detector.name} has no mean and covariance, which are the background of a "
                "match; train one with -d rx"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What a map depends on beside its scene, as JSON can hold it."""
        return {
            "method": self.method,
            "target": self.target.digest,
            "target_scale": self.scale,
            "background": None if self.model is None else self.model.hash,
        }

    def detector_for(
        self,
        source: Source,
        *,
        bands: str | Sequence[int] | None = None,
        resample_bands: bool = False,
        progress: Progress = SILENT,
    ) -> tuple[Detector[Any] | Model, BandSelection | None]:
        """What `hadgeo.run.engine.detect` takes to look for the target in a scene.

        Args:
            source: The scene.
            bands: As for `detect`; the model has its own.
            resample_bands: As for `detect`.
            progress: Is told what was made of the target.

        Returns:
            An unfitted detector and the bands for it; or a model, where one holds the background, and None.

        Raises:
            TargetError: The target does not reach enough bands of the scene, or either has no wavelengths.
            BandError: Fewer than two bands are left.
            ModelError: The model's bands are not in the scene.
        """
        if self.model is not None:
            return self._model_for(source, self.model, resample_bands, progress), None
        return self.unfitted_for(source, bands=bands, progress=progress)

    def unfitted_for(
        self, source: Source, *, bands: str | Sequence[int] | None = None, progress: Progress = SILENT
    ) -> tuple[Detector[Any], BandSelection]:
        """An unfitted detector that looks for the target in a scene, and the bands for it; see `detector_for`."""
        selection = usable_bands(source, bands)
        metadata = source.metadata
        values = self._at(np.arange(source.shape[0]), metadata.wavelength, metadata.fwhm, source.path)
        missing: npt.NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=0))
        _check_reached(self.target, ~missing[list(selection.indices)], source.path)
        selection = selection.without(missing, "not in the target spectrum")
        chosen = list(selection.indices)
        scaled = self._scaled(values[:, chosen], source, chosen, progress)
        return self._matcher(scaled), selection

    def _model_for(self, source: Source, model: Model, resample_bands: bool, progress: Progress) -> Model:
        source, selection = scene_of_model(source, model, resample=resample_bands)
        told = model.spectrum
        centres, widths = (
            None if values is None else np.asarray(values, dtype=np.float64) for values in (told.wavelength, told.fwhm)
        )
        values = self._at(np.asarray(told.indices), centres, widths, source.path)
        reached: npt.NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=0))
        keep = np.flatnonzero(reached)
        _check_reached(self.target, reached, source.path)
        scaled = self._scaled(values[:, keep], source, [selection.indices[i] for i in keep], progress)
        background = background_of(model.detector)
        assert background is not None  # by `__post_init__`
        matcher = self._matcher(scaled)
        matcher.load_state(narrowed(background, keep.tolist()), background["mean"].device)
        return Model(matcher, _taken(told, keep.tolist()), model.stored_dtype, model.level, model.scenes)

    def _matcher(self, values: Values) -> Matcher[Any]:
        target, *others = (tuple(row) for row in values.tolist())
        named = {"target": target, "others": tuple(others), "target_name": self.target.name}
        detector = make_detector(self.method, {**self.parameters, **named})
        assert isinstance(detector, Matcher)
        return detector

    def _at(self, numbers: npt.NDArray[np.intp], centres: Values | None, widths: Values | None, where: str) -> Values:
        """Each target at bands, (target, band); NaN where it says nothing."""
        targets = (self.target, *self.target.others)
        return np.array([at_bands(target, numbers, centres, widths, where) for target in targets])

    def _scaled(self, values: Values, source: Source, bands: Sequence[int], progress: Progress) -> Values:
        """The targets in the units of a scene; what was assumed is said in one line."""
        target = self.target
        told = f"target: {target.name} at {len(bands)} bands" + "".join(f"; {note}" for note in target.notes)
        if self.scale is not None:
            factor, why = self.scale, "as asked"
        else:
            factor, why = _judged(target, survey(source, bands).level)
        progress.message(f"{told}; its values are multiplied by {factor:g}, {why}")
        scaled = values * factor
        if (scaled == scaled[:, :1]).all(axis=1).any():
            raise TargetError(
                f"{source.path}: the target {target.name} is flat at the {len(bands)} bands used; choose others with "
                "--bands"
            )
        return scaled


def _judged(target: Target, level: float) -> tuple[float, str]:
    """The factor that brings a target to the units of a scene, and why.

    Args:
        target: The target.
        level: Scale of the scene.
    """
    before = target.level
    if before is not None:
        if not (before > 0 and level > 0):
            return 1.0, "as they are in the units of a scene"
        ratio = level / before
        factor = min(_BETWEEN_PRODUCTS, key=lambda each: abs(np.log(ratio / each)))
        return factor, f"as its scene reaches {before:.3g} and this one {level:.3g}; --target-scale says otherwise"
    largest = float(np.abs(target.values).max())
    (own, named), (other, called) = _scale_of(largest), _scale_of(level)
    return other / own, (
        f"as its own reach {largest:.3g} (taken for reflectance, {named}) and those of the scene {level:.3g} "
        f"({called}); --target-scale says otherwise"
    )


def _scale_of(level: float) -> tuple[float, str]:
    return next((scale, name) for largest, scale, name in _SCALES if level <= largest)


def _check_reached(target: Target, reached: npt.NDArray[np.bool_], where: str) -> None:
    """Refuse a target that says next to nothing of a scene.

    Args:
        target: The target.
        reached: Of the bands that would be used, those that it has a value for.
        where: The scene, for messages.
    """
    if reached.sum() >= MIN_BANDS:
        return
    span = ""
    if target.wavelength is not None:
        span = f", which runs from {target.wavelength[0]:g} to {target.wavelength[-1]:g} nm"
    raise TargetError(
        f"{where}: {reached.sum()} of its {reached.size} usable bands lie within the target {target.name}{span}; check "
        "the unit of its wavelengths, or give a spectrum that covers the scene"
    )


def _taken(spectrum: Spectrum, keep: Sequence[int]) -> Spectrum:
    """Some of a model's bands."""

    def some(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return None if values is None else tuple(values[i] for i in keep)

    return Spectrum(
        indices=tuple(spectrum.indices[i] for i in keep),
        total=spectrum.total,
        wavelength=some(spectrum.wavelength),
        fwhm=some(spectrum.fwhm),
    )


def target_of(
    spectrum: str | os.PathLike[str] | xr.DataArray | None = None, like: str | os.PathLike[str] | None = None
) -> Target:
    """The target that is meant.

    Args:
        spectrum: As for `match`.
        like: As for `match`.

    Raises:
        ParameterError: Not exactly one of both is given, or it is something else.
        TargetError: It cannot be used.
    """
    if (spectrum is None) == (like is None):
        both = "and not both" if spectrum is not None else "as --spectrum FILE or --like FILE#ID"
        raise ParameterError(f"what shall be found? give a spectrum or an anomaly to match, {both}")
    if like is not None:
        return read_anomaly(like)
    if isinstance(spectrum, str | os.PathLike):
        return read_spectrum(spectrum)
    import xarray as xr

    if isinstance(spectrum, xr.DataArray):
        return _of_array(spectrum)
    raise ParameterError(
        f"a spectrum is a file or an xarray.DataArray with the dimension band, not {type(spectrum).__name__}"
    )


def _of_array(spectrum: xr.DataArray) -> Target:
    """A spectrum in memory, such as a pixel of a cube, in the units of the scene."""
    if spectrum.dims != ("band",):
        raise ParameterError(f"the spectrum has the dimensions {spectrum.dims}; it has band alone: select one pixel")
    known = {
        name: spectrum[name].values.astype(np.float64) for name in ("wavelength", "fwhm") if name in spectrum.coords
    }
    numbered = "band" in spectrum.coords and "wavelength" not in known
    return make_target(
        str(spectrum.name or "spectrum"),
        "the spectrum",
        spectrum.values,
        known.get("wavelength"),
        known.get("fwhm"),
        bands=spectrum.band.values.astype(np.intp) if numbered else None,
        level=0.0,
    )


def match(
    cube: SceneLike,
    spectrum: str | os.PathLike[str] | xr.DataArray | None = None,
    *,
    like: str | os.PathLike[str] | None = None,
    method: str = DEFAULT_MATCHER,
    model: Model | None = None,
    scale: float | None = None,
    out: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    bands: str | Sequence[int] | None = None,
    resample_bands: bool = False,
    progress: Progress = SILENT,
    **options: Any,
) -> Detection:
    """Find more like a known spectrum, and write the map of how much each pixel is like it.

    Args:
        cube: A file, a cube (band, y, x) from `open_cube` or of your own, or a source that is open already.
        spectrum: What to find: a text file of wavelengths and values or an ENVI spectral library, with ``#NAME`` or
            ``#NUMBER`` behind it where it contains several spectra; or a pixel of a cube, with the dimension ``band``.
        like: What to find instead: ``FILE#ID``, an anomaly in the polygons or the evidence of an earlier run.
        method: ``ace``, ``mf`` (matched filter), ``cem`` or ``sam``; see `hadgeo.detectors.matchers`.
        model: Holds the background, instead of the scene: a model of ``rx``, from `load_model`.
        scale: What the values of the spectrum are multiplied with to be in the units of the scene; by default judged by
            magnitude for a file or an anomaly, and 1 for a pixel.
        out: The map to write; by default ``<scene>_match.tif`` next to the scene.
        parameters: Hyper-parameters of the method by name, such as ``{"ridge": 0.01}``.
        bands: As for `detect`; bands that the spectrum does not reach are left out.
        resample_bands: Interpolate the scene to a model's wavelengths where they differ, instead of refusing.
        progress: Follows the run and may cancel it; is told what was made of the spectrum.
        options: What else `detect` takes: ``device``, ``memory``, ``window``, ``overwrite``, ``resume``, ``north_up``,
            ``glt``, ``executor``, ``cluster`` and ``then``.

    Returns:
        What was done; `decide` takes its map as that of any detection.

    Raises:
        ParameterError: Nothing is to be found, or an argument is unknown or out of bounds.
        TargetError: The spectrum cannot be read, or does not fit the scene.
        ModelError: The model has no mean and covariance, or its bands are not in the scene.
        FitError: The scene does not determine a background, or the target is its mean.
        HadgeoError: Whatever else `detect` raises.

    Examples:
        >>> match("line.img", "kaolinite.txt").path
        PosixPath('line_match.tif')
        >>> match("line.img", like="anomalies.gpkg#3", method="mf", out="more.tif").path
        PosixPath('more.tif')
    """
    search = Search(target_of(spectrum, like), method, dict(parameters or {}), scale, model)
    source = as_source(cube)
    target = output_path(source, out, "match")
    check_no_input(target, search.target.files, told="the spectrum to be found")
    chosen, selection = search.detector_for(source, bands=bands, resample_bands=resample_bands, progress=progress)
    return detect(
        source, chosen, out=target, bands=selection, resample_bands=resample_bands, progress=progress, **options
    )
