"""A spectrum brought to the bands of a sensor: what each band would have seen of it.

A band's response is a Gaussian of its full width at half maximum. A spectrum has been seen through responses before:
a Gaussian after a Gaussian is one whose squared width is the sum of both, so only what lacks is applied, and a spectrum
that was measured by the very sensor stays as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hadgeo.errors import TargetError
from hadgeo.run.matching.target import Target, Values

#: Full width at half maximum of a Gaussian in standard deviations.
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))

#: How far a response reaches, in standard deviations, and the points at which it is taken.
_REACH, _POINTS = 4.0, 321

#: How wide samples of unknown width are, in units of their spacing: no spectrometer resolves all that it samples.
_OVERLAP = 1.5

#: Neighbouring samples that are farther apart than so many usual distances, and so many widths of a band, leave a gap.
_GAP_SPACINGS, _GAP_WIDTHS = 5.0, 2.0


def at_bands(
    target: Target, numbers: npt.NDArray[np.intp], centres: Values | None, widths: Values | None, where: str
) -> Values:
    """A target at bands, by wavelength, or by number if it is from a scene; NaN where it says nothing.

    Args:
        target: The target.
        numbers: 0-based indices of the bands in the file of the scene.
        centres: Their wavelengths in nm, or None.
        widths: Their full widths at half maximum in nm, or None.
        where: The scene, for messages.

    Raises:
        TargetError: Either has no wavelengths, and bands cannot be told by number.
    """
    if target.wavelength is not None and centres is not None:
        return resample(target.values, target.wavelength, target.fwhm, centres, widths)
    if target.bands is not None and (centres is None or target.wavelength is None):
        if target.bands.max() > numbers.max() + 1:
            raise TargetError(
                f"{where}: the target {target.name} has values in band {target.bands.max()}, beyond those of the "
                "scene, and without wavelengths on both sides bands are matched by number; give a scene of the "
                "same sensor"
            )
        known = dict(zip((target.bands - 1).tolist(), target.values.tolist(), strict=True))
        return np.array([known.get(int(number), np.nan) for number in numbers], dtype=np.float64)
    missing = "the scene has" if centres is None else f"the target {target.name} has"
    raise TargetError(
        f"{where}: {missing} no wavelengths, so the target cannot be brought to its bands; add them to its header"
    )


def resample(values: Values, wavelength: Values, fwhm: Values | None, centres: Values, widths: Values | None) -> Values:
    """What bands would have seen of a spectrum.

    Args:
        values: (sample), finite; between samples it is taken to be straight.
        wavelength: Their wavelengths in nm, rising.
        fwhm: Their full widths at half maximum in nm, NaN where one is not known, or None.
        centres: Of the bands, in nm, NaN where one is not known.
        widths: Their full widths at half maximum in nm, NaN where one is not known, or None; the distance to the
            nearest other band then.

    Returns:
        (band); NaN where the spectrum does not reach a band's centre, or has a gap there.
    """
    spacing = np.gradient(wavelength)
    seen = np.full(wavelength.shape, np.nan) if fwhm is None else fwhm
    seen = np.where(np.isfinite(seen), seen, _OVERLAP * spacing)
    wide = _widths(centres, widths)
    lacking = np.sqrt(np.clip(wide**2 - np.interp(centres, wavelength, seen) ** 2, 0.0, None))
    steps = np.linspace(-_REACH, _REACH, _POINTS)
    at = centres[:, None] + lacking[:, None] / _FWHM * steps
    weight = np.exp(-0.5 * steps**2) * ((at >= wavelength[0]) & (at <= wavelength[-1]))
    known = _reached(wavelength, centres, wide)
    resampled = np.full(centres.shape, np.nan)
    seen_by = weight[known] * np.interp(at[known], wavelength, values)
    resampled[known] = seen_by.sum(axis=1) / weight[known].sum(axis=1)
    return resampled


def _widths(centres: Values, widths: Values | None) -> Values:
    """Widths of bands, by the distance to the nearest other where they are not known."""
    order = np.argsort(centres, kind="stable")
    apart = np.diff(centres[order])
    nearest = np.full(centres.shape, np.inf)
    nearest[order[:-1]] = np.where(apart > 0, apart, np.inf)
    nearest[order[1:]] = np.fmin(nearest[order[1:]], np.where(apart > 0, apart, np.inf))
    nearest = np.where(np.isfinite(nearest), nearest, 0.0)
    return nearest if widths is None else np.where(np.isfinite(widths), widths, nearest)


def _reached(wavelength: Values, centres: Values, widths: Values) -> npt.NDArray[np.bool_]:
    """Which bands a spectrum says something of."""
    inside = (centres >= wavelength[0]) & (centres <= wavelength[-1])
    right = np.searchsorted(wavelength, np.nan_to_num(centres)).clip(1, wavelength.size - 1)
    between = wavelength[right] - wavelength[right - 1]
    on_sample = np.isin(centres, wavelength)
    gap = (between > _GAP_SPACINGS * np.median(np.diff(wavelength))) & (between > _GAP_WIDTHS * widths)
    reached: npt.NDArray[np.bool_] = inside & (on_sample | ~gap)
    return reached
