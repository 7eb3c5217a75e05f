"""Which bands of a scene a run uses: those that are good, or those of a model, and whether the scene suits it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hadgeo.bands import BandSelection, select_bands
from hadgeo.errors import BandError, CubeWarning, ModelError
from hadgeo.formats.resampled import ResampledSource
from hadgeo.formats.source import Source
from hadgeo.formats.survey import survey

if TYPE_CHECKING:
    from hadgeo.run.model_file import Model, Spectrum

#: Products of one sensor whose values differ by this factor are scaled differently, whatever the weather.
OTHER_SCALE = 5.0

_INTERPOLATE = "interpolate with --resample-bands, or train on a scene from this sensor"

#: Decoded bytes of a scene that suffice to see that a model suits it; where they do not show that, more is looked at.
_GLANCE_BYTES = 2**22

#: Fewer bands leave no spectrum to speak of.
MIN_BANDS = 2


def usable_bands(source: Source, bands: str | Sequence[int] | BandSelection | None) -> BandSelection:
    """Choose bands by the header and the user, then leave out those that the data show to be useless.

    Constant bands stay where the user named bands; bands without any data never do, since every pixel would be invalid.
    A selection that was made before is taken as it is.

    Raises:
        BandError: The selection is malformed, or fewer than two bands are left.
    """
    if isinstance(bands, BandSelection):
        return bands
    metadata = source.metadata
    try:
        selection = select_bands(bands, source.shape[0], metadata.wavelength, metadata.good)
    except BandError as error:
        raise BandError(f"{source.path}: {error}") from None
    if selection.indices:
        seen = survey(source, selection.indices)
        selection = selection.without(seen.empty, "wholly nodata")
        if bands is None:
            selection = selection.without(seen.constant, "constant")
    if len(selection.indices) < MIN_BANDS:
        raise BandError(
            f"{source.path}: {selection}, and a detector needs at least {MIN_BANDS}; "
            "is the file a hyperspectral cube with data in it? choose bands with --bands"
        )
    return selection


def scene_of_model(source: Source, model: Model, *, resample: bool) -> tuple[Source, BandSelection]:
    """Find the bands of a model in a scene, by wavelength where both know theirs.

    Args:
        source: The cube.
        model: A fitted detector.
        resample: Interpolate to the model's wavelengths, if the scene's differ, instead of refusing.

    Raises:
        ModelError: The scene lacks bands of the model, or has no data in them.
    """
    metadata, spectrum = source.metadata, model.spectrum
    try:
        indices = match_bands(spectrum, source.shape[0], metadata.wavelength, name=source.path).tolist()
    except ModelError:
        if not resample or spectrum.wavelength is None:
            raise
        source = ResampledSource(source, np.asarray(spectrum.wavelength), metadata.good)
        indices = list(range(source.shape[0]))
    check_alike(source, indices, model.level)
    return source, BandSelection(tuple(indices), source.shape[0])


def check_alike(source: Source, indices: Sequence[int], level: float) -> None:
    """Check that a scene has data in a model's bands, and warn where its values are scaled otherwise.

    Args:
        source: The cube.
        indices: 0-based indices of the model's bands in it.
        level: The `Survey.level` of the scene that decided the model's bands.

    Raises:
        ModelError: A band holds no data.
    """
    seen = survey(source, indices, _GLANCE_BYTES)
    if seen.empty[list(indices)].any() or not _scaled_alike(seen.level, level):
        seen = survey(source, indices)
    empty = int(seen.empty[list(indices)].sum())
    if empty:
        raise ModelError(
            f"{source.path}: {empty} of the {len(indices)} bands of the model contain no data here; "
            "train on a scene from this sensor, or with --bands that both have"
        )
    if not _scaled_alike(seen.level, level):
        warnings.warn(
            f"{source.path}: its values reach {seen.level:.3g}, but those that the model was fitted to reach "
            f"{level:.3g}: is a scale factor missing from one of the headers?",
            CubeWarning,
            stacklevel=3,
        )


def _scaled_alike(level: float, of_model: float) -> bool:
    return of_model <= 0 or 1 / OTHER_SCALE < level / of_model < OTHER_SCALE


def match_bands(
    spectrum: Spectrum,
    total: int,
    wavelength: npt.NDArray[np.float64] | None,
    *,
    name: str,
    advice: str = _INTERPOLATE,
) -> npt.NDArray[np.intp]:
    """Find a model's bands in a scene.

    Args:
        spectrum: The model's bands.
        total: Bands of the scene.
        wavelength: Their centres in nm, NaN where one is not known, or None.
        name: The scene, for messages.
        advice: What to do about bands that differ.

    Returns:
        0-based indices of the scene's bands, in the model's order.

    Raises:
        ModelError: A band's nearest is farther away than half a full width at half maximum (half the distance to the
            model's next band where widths are not known), or wavelengths are missing and the number of bands differs.
    """
    if spectrum.wavelength is None or wavelength is None:
        if total != spectrum.total:
            raise ModelError(
                f"{name}: {total} bands, but the model was fitted to a cube of {spectrum.total}; without wavelengths "
                "on both sides they cannot be matched: train on a scene from this sensor"
            )
        return np.asarray(spectrum.indices, dtype=np.intp)
    wanted = np.asarray(spectrum.wavelength)
    unknown = int(np.isnan(wanted).sum())
    if unknown:
        raise ModelError(
            f"{name}: {unknown} of the model's {len(wanted)} bands have no known wavelength and cannot be matched; "
            "train it again without them"
        )
    away = np.abs(wavelength[None, :] - wanted[:, None])
    # A band of unknown wavelength is nobody's nearest.
    nearest: npt.NDArray[np.intp] = np.where(np.isnan(away), np.inf, away).argmin(axis=1)
    distance = np.abs(wavelength[nearest] - wanted)
    far = distance > tolerance(spectrum)
    if not far.any() and len(np.unique(nearest)) < len(nearest):
        raise ModelError(
            f"{name}: several of the model's {len(wanted)} bands fall on the same band of the scene; {advice}"
        )
    if far.any():
        worst = int(distance.argmax())
        raise ModelError(
            f"{name}: {int(far.sum())} of the model's {len(wanted)} bands are not in the scene, such as "
            f"{wanted[worst]:.1f} nm, whose nearest is {wavelength[nearest[worst]]:.1f} nm; {advice}"
        )
    return nearest


def tolerance(spectrum: Spectrum) -> npt.NDArray[np.float64]:
    """How far from each band's centre another sensor's band may lie, in nm."""
    centres = np.asarray(spectrum.wavelength, dtype=np.float64)
    apart: npt.NDArray[np.float64] = np.full(centres.shape, 5.0)
    if centres.size > 1:
        apart = np.abs(np.gradient(centres)) / 2
    if spectrum.fwhm is None:
        return apart
    fwhm = np.asarray(spectrum.fwhm, dtype=np.float64)
    return np.where(np.isfinite(fwhm), fwhm / 2, apart)
