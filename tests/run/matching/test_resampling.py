"""A spectrum at the bands of a sensor."""

from __future__ import annotations

import numpy as np
import pytest
from spectral import BandResampler

from hadgeo.run.matching.resampling import resample
from hadgeo.simulation.spectra import _GRID, TARGETS, make_bands

CURVE = TARGETS[1].reflectance()


def test_a_laboratory_spectrum_is_seen_through_gaussian_bands() -> None:
    sensor = make_bands(200)
    seen = resample(CURVE, _GRID, None, sensor.wavelength, sensor.fwhm)
    np.testing.assert_allclose(seen, sensor.response(CURVE), atol=2e-4)
    np.testing.assert_allclose(
        seen[2:-2], BandResampler(_GRID, sensor.wavelength, None, sensor.fwhm)(CURVE)[2:-2], atol=4e-3
    )


@pytest.mark.parametrize("width", [None, 1.2])
def test_the_sensors_own_spectrum_stays_as_it_is(width: float | None) -> None:
    centres = np.arange(400.0, 2500.0, 10.0)
    values = np.random.default_rng(0).uniform(size=centres.size)
    fwhm = None if width is None else np.full(centres.size, width * 10)
    np.testing.assert_allclose(resample(values, centres, fwhm, centres, fwhm), values)
    np.testing.assert_allclose(resample(values, centres, None, centres, fwhm), values)


def test_wider_bands_see_what_lacks_to_their_width_alone() -> None:
    # A line of 20 nm, already seen through 15 nm, through bands of 25 nm.
    at = np.arange(400.0, 800.0, 1.0)

    def line(fwhm: float) -> np.ndarray:
        sigma = fwhm / 2.3548
        return np.exp(-0.5 * ((at - 600) / sigma) ** 2) / sigma

    already, wanted = np.hypot(20, 15), np.hypot(20, 25)
    seen = resample(line(already), at, np.full(at.size, 15.0), at[100:-100], np.full(200, 25.0))
    np.testing.assert_allclose(seen, line(wanted)[100:-100], atol=1e-3 * line(wanted).max())


def test_bands_beyond_the_spectrum_and_in_its_gaps_are_unknown() -> None:
    wavelength = np.concatenate([np.arange(500.0, 900.0, 2.0), np.arange(1000.0, 1200.0, 2.0)])
    centres = np.array([499.0, 500.0, 700.0, 950.0, 1100.0, 1198.0, 1199.0, np.nan])
    seen = resample(wavelength * 2, wavelength, None, centres, np.full(8, 10.0))
    assert np.isfinite(seen).tolist() == [False, True, True, False, True, True, False, False]
    assert seen[2] == pytest.approx(1400)


def test_a_sparse_spectrum_is_drawn_through() -> None:
    seen = resample(np.array([0.1, 0.3]), np.array([400.0, 2400.0]), None, np.array([400.0, 1400.0]), None)
    np.testing.assert_allclose(seen, [0.1, 0.2])


def test_bands_in_any_order() -> None:
    centres = np.array([900.0, 500.0, 700.0])
    forward = resample(CURVE, _GRID, None, np.sort(centres), None)
    np.testing.assert_allclose(resample(CURVE, _GRID, None, centres, None), forward[[2, 0, 1]])
