"""Detectors that know what they are looking for: how much each pixel is like a target spectrum.

They differ from the others in that alone. A target is a hyper-parameter of theirs, one value for each used band in the
units of the scene; `hadgeo.run.matching` brings a spectrum from a library, or that of an anomaly, to the bands of a
scene. Higher scores are more like the target. All of them score each pixel for itself, so they need no halo.

In what follows x is the spectrum of a pixel, t the target, m the mean and C the covariance of the background, and
W a matrix with WᵀW = C⁻¹.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.base import Detector, Params
from hadgeo.detectors.covariance import CovarianceParams, background_statistics, regularised
from hadgeo.detectors.rx import rao_blackwell_ledoit_wolf
from hadgeo.detectors.tiles import SIDE, each_tile
from hadgeo.detectors.whitening import whitening
from hadgeo.errors import FitError, ParameterError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels

#: A target nearer to the mean of the background than this, in its standard deviations, is no target.
_NO_CONTRAST = 1e-6


class TargetParams(Params):
    """Hyper-parameters of every matcher."""

    basic: ClassVar[tuple[str, ...]] = ("sample",)

    target: tuple[float, ...] = Field(
        default=(),
        title="Target",
        description="The spectrum that is looked for, one value for each used band, in the units of the scene.",
    )
    others: tuple[tuple[float, ...], ...] = Field(
        default=(),
        title="Other targets",
        description="More spectra, as long as the target; a pixel has the score of the one that it is most like.",
    )
    target_name: str = Field(default="", title="Name of the target", description="What the target is called.")
    sample: int | None = Field(
        default=None,
        title="Sampled pixels",
        description="Estimate the background from about this many pixels, evenly spread, instead of all of them.",
        ge=2,
    )


class BackgroundParams(TargetParams, CovarianceParams):
    """Hyper-parameters of a matcher that tells the target from a background."""

    basic: ClassVar[tuple[str, ...]] = ("ridge", "robust")


#: Hyper-parameters that say how the background is learned.
LEARNING = ("sample", *CovarianceParams.model_fields)

TargetParamsT = TypeVar("TargetParamsT", bound=TargetParams)


class Matcher(Detector[TargetParamsT]):
    """Scores how much each pixel is like a target; higher is more alike.

    Attributes:
        mean_: Mean spectrum of the background, float64 (band).
        vectors_: What `prepare` makes of each target, float64 (·, target).
    """

    explained_by = "the mean spectrum of the scene"
    score_name = "match score"
    halo = 0
    grid = SIDE

    mean_: Tensor
    vectors_: Tensor

    def __repr__(self) -> str:
        changed = self.params.model_dump(mode="json", exclude_defaults=True)
        told = {**changed, "target": f"<{len(self.params.target)} values>"}
        if self.params.others:
            told["others"] = f"<{len(self.params.others)} more>"
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in told.items())})"

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Learn the background in one streamed pass; see `Detector.fit`."""
        if not self.params.target:
            raise ParameterError(f"{self.name} needs a target spectrum; use `hadgeo match --spectrum FILE`")
        state = self.learn(sample, device=device, progress=progress)
        return self.load_state(state, device)

    @abstractmethod
    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> dict[str, Tensor]:
        """What `state` will hold, from the pixels of a scene; see `Detector.fit`."""

    @abstractmethod
    def likeness(self, spectra: Tensor) -> Tensor:
        """Score spectra.

        Args:
            spectra: (pixel, band), of any precision, on the device of `mean_`.

        Returns:
            Float64 (pixel, target).
        """

    @abstractmethod
    def prepare(self, target: Tensor) -> Tensor:
        """Compute once what every pixel needs of a target.

        Args:
            target: Float64 (band), on the device of `mean_`.

        Returns:
            The vector that becomes a column of `vectors_`.

        Raises:
            FitError: Nothing distinguishes it from the background.
        """

    def score(self, block: Tensor) -> Tensor:
        """Likeness of each pixel; see `Detector.score`."""
        return each_tile(block.to(self.mean_.device), lambda spectra: self.likeness(spectra).amax(dim=1))

    def explain(self, block: Tensor) -> Tensor:
        """The mean spectrum of the background, everywhere; see `Detector.explain`."""
        return torch.where(valid_pixels(block), self.mean_.to(block)[:, None, None], torch.nan)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The score alone; see `Detector.bytes_per_pixel`."""
        return 8

    def state(self) -> dict[str, Tensor]:
        """The background; the target is a hyper-parameter. See `Detector.state`."""
        return {"mean": self.mean_}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take it back, and prepare the target for it; see `Detector.load_state`.

        Raises:
            ParameterError: The target has another number of bands.
            FitError: Nothing distinguishes the target from the background.
        """
        self.mean_ = _own(state["mean"], device)
        bands, targets = len(self.mean_), (self.params.target, *self.params.others)
        given = next((len(target) for target in targets if len(target) != bands), bands)
        if given != bands:
            raise ParameterError(
                f"{self.name}: the target has {given} values, but {bands} bands are used; give one for each band in use"
            )
        values = torch.tensor(targets, dtype=torch.float64, device=self.mean_.device)
        self.vectors_ = torch.stack([self.prepare(target) for target in values], dim=1)
        return self


class BackgroundMatcher(Matcher[TargetParamsT]):
    """A matcher that tells the target from a background of mean m and covariance C.

    Attributes:
        mean_: See `Matcher`.
        whitening_: Matrix W with WᵀW = C⁻¹ (the pseudo-inverse where C is singular), float64 (rank, band).
    """

    whitening_: Tensor

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> dict[str, Tensor]:
        """Mean and whitening; see `Detector.fit`."""
        params: Any = self.params
        statistics = background_statistics(sample, params, device=device, pixels=params.sample)
        ridge = params.ridge
        covariance = statistics.covariance
        if not ridge and statistics.count <= sample.bands:
            weight = rao_blackwell_ledoit_wolf(statistics)
            progress.message(
                f"{self.name}: {statistics.count} valid pixels do not determine the covariance of {sample.bands} "
                f"bands; shrunk by {weight:.3f}"
            )
            sphere = covariance.diagonal().mean()
            covariance = (1 - weight) * covariance
            covariance.diagonal().add_(weight * sphere)
        if not covariance.diagonal().max() > 0:
            raise FitError(
                f"{self.name}: all valid pixels are equal, so there is nothing to detect; check the input and --bands"
            )
        # The second moments of CEM are averages over all pixels; the others do not mind a common factor.
        share = (statistics.count - 1) / statistics.count if self.whole_average else 1.0
        return {"mean": statistics.mean, "whitening": whitening(share * regularised(covariance, ridge))}

    #: Whether the covariance is the mean square itself, not the unbiased estimate.
    whole_average = False

    def state(self) -> dict[str, Tensor]:
        """Mean and whitening; see `Detector.state`."""
        return {"mean": self.mean_, "whitening": self.whitening_}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Matcher.load_state`."""
        self.whitening_ = _own(state["whitening"], device)
        return super().load_state(state, device)

    def whitened(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """W (t - m), and its squared length.

        Raises:
            FitError: The target is the mean of the background.
        """
        direction = self.whitening_ @ (target - self.mean_)
        energy = direction @ direction
        if not energy > _NO_CONTRAST**2:
            raise FitError(
                f"{self.name}: the target is the mean spectrum of the background, so nothing distinguishes it; "
                "check the target and its scale"
            )
        return direction, energy


class ACEParams(BackgroundParams):
    """Hyper-parameters of ACE."""

    basic = ("ridge", "one_sided", "robust")

    one_sided: bool = Field(
        default=True,
        title="One-sided",
        description="Give pixels that differ from the background in the opposite direction a negative score. The "
        "statistic as published takes them for as good a match.",
    )


class ACE(BackgroundMatcher[ACEParams]):
    """Adaptive cosine estimator: the squared cosine of the angle between pixel and target in whitened space.

        y = ((t - m)ᵀ C⁻¹ (x - m))² / ((t - m)ᵀ C⁻¹ (t - m) · (x - m)ᵀ C⁻¹ (x - m))

    S. Kraut, L. L. Scharf and L. T. McWhorter, "Adaptive subspace detectors", IEEE Trans. Signal Processing 49(1),
    2001, doi 10.1109/78.890324, the statistic ACE for a subspace of one dimension; S. Kraut, L. L. Scharf and
    R. W. Butler, "The adaptive coherence estimator", IEEE Trans. Signal Processing 53(2), 2005,
    doi 10.1109/TSP.2004.840823. Neither the brightness of a target nor how much of a pixel it fills matters.

    Beyond the papers, the cosine's sign is kept unless `one_sided` is false: dark pixels are no match for a bright
    target. So scores are in [-1, 1], 1 for the target itself.
    """

    name = "ace"
    title = "ACE (adaptive cosine estimator)"
    Params = ACEParams
    best_at = "targets that fill a part of a pixel, of any brightness"

    def prepare(self, target: Tensor) -> Tensor:
        """W (t - m) of length 1; see `Matcher.prepare`."""
        direction, energy = self.whitened(target)
        return direction / energy.sqrt()

    def likeness(self, spectra: Tensor) -> Tensor:
        """Squared cosine; see `Matcher.likeness`."""
        white = (spectra - self.mean_) @ self.whitening_.T
        along = white @ self.vectors_
        length = white.square_().sum(dim=1, keepdim=True)
        # A pixel that is the mean points nowhere.
        cosine = torch.where(length > 0, along.square() / length, 0.0)
        return cosine.copysign(along) if self.params.one_sided else cosine


class MatchedFilter(BackgroundMatcher[BackgroundParams]):
    """Matched filter: the linear filter of most signal to background, scaled to 1 at the target and 0 at the mean.

        y = (t - m)ᵀ C⁻¹ (x - m) / ((t - m)ᵀ C⁻¹ (t - m))

    A. D. Stocker, I. S. Reed and X. Yu, "Multi-dimensional signal processing for electro-optical target detection",
    Proc. SPIE 1305, 1990, doi 10.1117/12.21593; in this form D. Manolakis, D. Marden and G. A. Shaw, "Hyperspectral
    image processing for automatic target detection applications", Lincoln Laboratory Journal 14(1), 2003. Where the
    background mixes linearly, the score estimates the share of the pixel that the target fills.
    """

    name = "mf"
    title = "Matched filter"
    Params = BackgroundParams
    best_at = "how much of a pixel a target fills"

    def prepare(self, target: Tensor) -> Tensor:
        """C⁻¹ (t - m) / ((t - m)ᵀ C⁻¹ (t - m)); see `Matcher.prepare`."""
        direction, energy = self.whitened(target)
        return self.whitening_.T @ direction / energy

    def likeness(self, spectra: Tensor) -> Tensor:
        """Filter output; see `Matcher.likeness`."""
        return (spectra - self.mean_) @ self.vectors_


class CEM(BackgroundMatcher[BackgroundParams]):
    """Constrained energy minimisation: the linear filter of least output over the scene that gives 1 for the target.

        y = wᵀx,  w = R⁻¹ t / (tᵀ R⁻¹ t),  R = (1/N) Σ x xᵀ

    J. C. Harsanyi, "Detection and classification of subpixel spectral signatures in hyperspectral image sequences",
    PhD thesis, University of Maryland Baltimore County, 1993; in print W. H. Farrand and J. C. Harsanyi, Remote Sensing
    of Environment 59(1), 1997, doi 10.1016/S0034-4257(96)00080-6.

    As R = C + m mᵀ, with C the mean square of x - m, its inverse is that of C updated by one vector (Sherman-Morrison).
    With ridge, C is the regularised one. The background of an RX model has C unbiased, which is larger by N / (N - 1).
    """

    name = "cem"
    title = "CEM (constrained energy minimisation)"
    Params = BackgroundParams
    best_at = "targets whose spectrum is known well, before a background of many materials"
    whole_average = True

    def prepare(self, target: Tensor) -> Tensor:
        """The filter w; see `Matcher.prepare`."""
        t, m = self.whitening_ @ target, self.whitening_ @ self.mean_
        white = t - m * (m @ t) / (1 + m @ m)
        energy = t @ white
        if not energy > _NO_CONTRAST**2:
            raise FitError(f"{self.name}: the target is zero in all used bands; check the target and --bands")
        return self.whitening_.T @ white / energy

    def likeness(self, spectra: Tensor) -> Tensor:
        """Filter output; see `Matcher.likeness`."""
        return spectra.double() @ self.vectors_


class SAM(Matcher[TargetParams]):
    """Spectral angle mapper: how small the angle between pixel and target is, whatever their brightness.

        α = arccos(tᵀx / (|t| |x|)),  y = 1 - 2 α / π

    F. A. Kruse et al., "The spectral image processing system (SIPS): interactive visualization and analysis of imaging
    spectrometer data", Remote Sensing of Environment 44, 1993, doi 10.1016/0034-4257(93)90013-N. The angle α is turned
    into a score that is 1 for the target itself and 0 where both are orthogonal. It needs no background; the mean of
    the scene is learned for explanations.
    """

    name = "sam"
    title = "SAM (spectral angle mapper)"
    Params = TargetParams
    best_at = "pixels that a target fills, where no background is to be learned"

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> dict[str, Tensor]:  # noqa: ARG002
        """The mean; see `Detector.fit`."""
        return {"mean": sample.statistics(covariance=False, pixels=self.params.sample).mean}

    def prepare(self, target: Tensor) -> Tensor:
        """The target of length 1; see `Matcher.prepare`."""
        length: Tensor = torch.linalg.vector_norm(target)
        if not length > 0:
            raise FitError(f"{self.name}: the target is zero in all used bands; check the target and --bands")
        return target / length

    def likeness(self, spectra: Tensor) -> Tensor:
        """One less the angle in right angles; see `Matcher.likeness`."""
        spectra = spectra.double()
        length = torch.linalg.vector_norm(spectra, dim=1, keepdim=True)
        # A pixel of zeros points nowhere.
        cosine = torch.where(length > 0, spectra @ self.vectors_ / length, 0.0)
        return 1 - torch.acos(cosine.clamp(-1, 1)) * (2 / math.pi)


def background_of(detector: Detector[Any]) -> dict[str, Tensor] | None:
    """The background that a fitted detector holds, as a matcher's `load_state` takes it.

    Args:
        detector: A fitted detector.

    Returns:
        ``mean`` (band) and ``whitening`` (rank, band); None where it models the background otherwise.
    """
    from hadgeo.detectors.rx import RX

    if isinstance(detector, RX | BackgroundMatcher):
        return {"mean": detector.mean_, "whitening": detector.whitening_}
    return None


def narrowed(background: dict[str, Tensor], keep: list[int]) -> dict[str, Tensor]:
    """A background in some of its bands: the covariance of the others does not matter.

    Args:
        background: Of `background_of`.
        keep: Indices of the bands to keep, rising.
    """
    mean, W = background["mean"], background["whitening"]
    if keep == list(range(len(mean))):
        return background
    index = torch.tensor(keep, device=mean.device)
    covariance = torch.linalg.pinv(W.T @ W, hermitian=True)
    return {"mean": mean[index], "whitening": whitening(covariance[index][:, index])}


def _own(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy that lies in memory as every other: products of what a model file holds would be rounded otherwise."""
    return tensor.to(double_device(device)).clone(memory_format=torch.contiguous_format)
