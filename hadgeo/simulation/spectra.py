"""Reflectance of land covers and of implanted materials from 400 to 2500 nm, and what a sensor makes of it.

Spectra are parametric: a continuum through a few anchors and Gaussian absorptions with their centres where the
literature has them (water 970/1190/1440/1930 nm, chlorophyll 430/670, iron 530/870, clay 2200, carbonate 2340,
C-H of polymers 1215/1730/2310). They are believable, not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hadgeo.bands import WATER_VAPOUR_NM

Curve = npt.NDArray[np.float64]
Pairs = tuple[tuple[float, float], ...]
Lines = tuple[tuple[float, float, float], ...]

# One nm, and wide enough that the response of the outermost bands is complete.
_GRID: Curve = np.arange(300.0, 2701.0)


@dataclass(frozen=True)
class Material:
    """A surface.

    Attributes:
        name: What it is.
        continuum: Anchors (nm, reflectance).
        absorptions: Lines (centre in nm, standard deviation in nm, optical depth).
        wet: How strongly its liquid-water lines vary from place to place.
        pigment: How strongly its visible colour varies from place to place.
    """

    name: str
    continuum: Pairs
    absorptions: Lines = ()
    wet: float = 0.0
    pigment: float = 0.0

    def reflectance(self) -> Curve:
        """Reflectance on the one-nm grid."""
        from scipy.interpolate import PchipInterpolator

        wavelengths, values = zip(*self.continuum, strict=True)
        curve: Curve = PchipInterpolator(wavelengths, values)(np.clip(_GRID, wavelengths[0], wavelengths[-1]))
        return curve * np.exp(-_depth(self.absorptions))


def _depth(lines: Lines) -> Curve:
    total = np.zeros_like(_GRID)
    for centre, width, depth in lines:
        total += depth * np.exp(-0.5 * ((_GRID - centre) / width) ** 2)
    return total


_LEAF: Pairs = ((350, 0.03), (500, 0.035), (520, 0.05), (552, 0.098), (585, 0.066), (640, 0.05), (675, 0.034))
_LEAF += ((690, 0.055), (715, 0.21), (740, 0.40), (765, 0.46), (880, 0.49), (1080, 0.49), (1280, 0.45))
_LEAF += ((1650, 0.31), (1800, 0.27), (2220, 0.165), (2500, 0.08))
_LEAF_WATER: Lines = ((970, 28, 0.09), (1190, 40, 0.17), (1440, 55, 1.2), (1930, 75, 1.5))

BACKGROUND: tuple[Material, ...] = (
    Material("green vegetation", _LEAF, _LEAF_WATER, wet=0.8, pigment=0.8),
    Material(
        "forest",
        tuple((nm, 0.62 * value) for nm, value in _LEAF),
        ((970, 28, 0.13), (1190, 40, 0.24), (1440, 60, 1.5), (1930, 80, 1.8), (1700, 120, 0.25), (2300, 200, 0.35)),
        wet=0.8,
        pigment=0.6,
    ),
    Material(
        "dry grass",
        ((350, 0.05), (500, 0.10), (600, 0.17), (800, 0.30), (1300, 0.42), (1650, 0.41), (2250, 0.31), (2500, 0.22)),
        ((670, 18, 0.10), (1440, 45, 0.22), (1930, 60, 0.40), (2100, 45, 0.16), (2310, 35, 0.16)),
        wet=0.5,
        pigment=0.6,
    ),
    Material(
        "iron soil",
        ((350, 0.03), (530, 0.085), (600, 0.16), (780, 0.255), (1100, 0.31), (1700, 0.37), (2150, 0.36), (2500, 0.30)),
        ((490, 30, 0.12), (880, 70, 0.16), (1415, 20, 0.10), (1920, 35, 0.20), (2205, 18, 0.10)),
        wet=0.7,
        pigment=0.7,
    ),
    Material(
        "clay soil",
        ((350, 0.09), (450, 0.16), (600, 0.26), (800, 0.345), (1100, 0.41), (1700, 0.46), (2130, 0.45), (2500, 0.35)),
        ((530, 30, 0.04), (940, 80, 0.03), (1413, 18, 0.18), (1915, 32, 0.34), (2208, 19, 0.24), (2345, 20, 0.09)),
        wet=0.7,
        pigment=0.4,
    ),
    Material(
        "water",
        (
            (350, 0.045),
            (480, 0.058),
            (560, 0.062),
            (600, 0.042),
            (680, 0.030),
            (750, 0.014),
            (900, 0.008),
            (2500, 0.004),
        ),
        pigment=0.5,
    ),
    Material(
        "asphalt",
        ((350, 0.06), (500, 0.085), (700, 0.105), (1000, 0.125), (1700, 0.155), (2200, 0.16), (2500, 0.145)),
        ((1730, 20, 0.02), (2310, 22, 0.06)),
        pigment=0.2,
    ),
    Material(
        "concrete",
        ((350, 0.14), (450, 0.21), (600, 0.285), (900, 0.33), (1300, 0.355), (1700, 0.35), (2100, 0.32), (2500, 0.25)),
        ((1420, 30, 0.08), (1930, 50, 0.20), (2205, 25, 0.03), (2340, 25, 0.16)),
        wet=0.3,
        pigment=0.3,
    ),
    Material(
        "roof tile",
        ((350, 0.04), (540, 0.09), (600, 0.215), (760, 0.29), (1100, 0.33), (1700, 0.40), (2150, 0.40), (2500, 0.38)),
        ((530, 25, 0.10), (870, 60, 0.14), (1930, 40, 0.06)),
        pigment=0.4,
    ),
)

TARGETS: tuple[Material, ...] = (
    Material(
        "green paint",
        ((350, 0.04), (545, 0.115), (640, 0.075), (740, 0.25), (800, 0.33), (1300, 0.38), (1650, 0.36), (2500, 0.23)),
        ((620, 22, 0.12), (1190, 14, 0.06), (1440, 40, 0.45), (1725, 13, 0.22), (1930, 45, 0.45), (2310, 16, 0.32)),
    ),
    Material(
        "blue tarpaulin",
        ((350, 0.07), (460, 0.16), (540, 0.10), (690, 0.09), (780, 0.22), (1000, 0.29), (1700, 0.31), (2500, 0.22)),
        ((1215, 12, 0.14), (1395, 14, 0.20), (1730, 12, 0.36), (1762, 9, 0.22), (2310, 14, 0.45), (2350, 11, 0.30)),
    ),
    Material(
        "brown paint",
        ((350, 0.045), (480, 0.075), (580, 0.15), (700, 0.21), (1000, 0.30), (1300, 0.335), (2150, 0.33), (2500, 0.27)),
        ((660, 16, 0.10), (960, 24, 0.07), (1440, 35, 0.12), (1725, 13, 0.18), (1930, 45, 0.22), (2310, 16, 0.30)),
    ),
)

# How a place can differ from its material's mean: more liquid water, more pigment.
_WATER_LINES: Lines = ((970, 30, 0.08), (1190, 42, 0.16), (1440, 60, 0.8), (1930, 80, 1.0), (2500, 250, 0.3))
_PIGMENT_LINES: Lines = ((430, 70, 0.25), (560, 45, 0.20), (665, 35, 0.45))
# Gases that thin the light out but leave a signal: oxygen at 760 nm, water vapour at 940 and 1130 nm.
_GAS_LINES: Lines = ((762, 5, 0.8), (940, 22, 0.55), (1130, 26, 0.6), (2010, 14, 0.5), (2060, 12, 0.3))

# What litter, stones, waxes and weeds add to a pixel or take from it: one small feature each.
_CLUTTER: tuple[Lines, ...] = (
    ((500, 40, 1.0),),
    ((620, 35, 1.0),),
    ((675, 18, 1.0),),
    ((718, 14, 1.0),),
    ((880, 60, 1.0),),
    ((1000, 160, 1.0),),
    ((1205, 25, 1.0),),
    ((1410, 25, 0.6), (1920, 35, 1.0), (2205, 20, 0.7)),
    ((1560, 90, 1.0),),
    ((1728, 22, 0.6), (2308, 24, 1.0)),
    ((2100, 45, 1.0),),
    ((2340, 24, 1.0),),
)


@dataclass(frozen=True)
class Bands:
    """The sensor.

    Attributes:
        wavelength: Band centres in nm, ascending.
        fwhm: Full widths at half maximum in nm.
        good: False inside the water-vapour bands.
        transmission: Share of the ground's signal that is left in the product, near zero where `good` is False.
        noise: Standard deviation of the noise relative to that of the best band.
    """

    wavelength: Curve
    fwhm: Curve
    good: npt.NDArray[np.bool_]
    transmission: Curve
    noise: Curve

    def response(self, curve: Curve) -> Curve:
        """What the bands see of a curve on the one-nm grid, through Gaussian responses."""
        sigma = self.fwhm[:, None] / 2.3548
        weights = np.exp(-0.5 * ((_GRID[None, :] - self.wavelength[:, None]) / sigma) ** 2)
        seen: Curve = weights @ curve / weights.sum(axis=1)
        return seen


def make_bands(count: int) -> Bands:
    """Spread bands evenly over 400-2500 nm, their widths 1.2 times the spacing."""
    wavelength = np.linspace(400.0, 2500.0, count)
    # A very coarse sensor would reach beyond the grid; 300 nm is as wide as a band of use can be.
    fwhm = np.full(count, min(1.2 * 2100.0 / (count - 1), 300.0))
    good = np.ones(count, dtype=bool)
    for low, high in WATER_VAPOUR_NM:
        good &= (wavelength < low) | (wavelength > high)
    sensor = Bands(wavelength, fwhm, good, np.ones(count), np.ones(count))
    light = np.interp(_GRID, (300, 400, 480, 650, 1000, 1300, 1700, 2100, 2350, 2500), _LIGHT) * np.exp(
        -_depth(_GAS_LINES)
    )
    # The last band but a few carries some signal; in the vapour's cores next to nothing is left.
    transmission = np.where(good, 1.0, 0.02)
    noise = np.where(good, 1 / sensor.response(light), 4.0)
    return Bands(wavelength, fwhm, good, transmission, noise)


# Signal-to-noise ratio over wavelength, relative to the best band: poor at both ends of the range.
_LIGHT = (0.2, 0.4, 0.85, 1.0, 0.9, 0.75, 0.6, 0.42, 0.3, 0.2)


def mixing_basis(bands: Bands) -> npt.NDArray[np.float32]:
    """Spectra that abundances are multiplied with.

    Four blocks of one row a material, background first: the material itself, its change with a steeper slope, with
    more liquid water and with more pigment, each for a unit change.

    Returns:
        Array (4 * materials, bands).
    """
    materials = (*BACKGROUND, *TARGETS)
    mean = np.stack([bands.response(m.reflectance()) for m in materials]) * bands.transmission
    slope = (bands.wavelength - 1450.0) / 1050.0
    water, pigment = bands.response(_depth(_WATER_LINES)), bands.response(_depth(_PIGMENT_LINES))
    wet, coloured = np.array([[m.wet] for m in materials]), np.array([[m.pigment] for m in materials])
    return np.concatenate([mean, mean * slope, -mean * wet * water, -mean * coloured * pigment]).astype(np.float32)


def clutter_basis(bands: Bands) -> npt.NDArray[np.float32]:
    """Small features of average land, one row each, (features, bands)."""
    average = np.mean([material.reflectance() for material in BACKGROUND], axis=0)
    rows = [bands.response(average * _depth(lines)) * bands.transmission for lines in _CLUTTER]
    return np.stack(rows).astype(np.float32)
