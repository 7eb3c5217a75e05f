"""RX with a background of several clusters: the squared Mahalanobis distance to the nearest.

M. J. Carlotto, "A cluster-based approach for detecting man-made objects and changes in imagery", IEEE Trans.
Geoscience and Remote Sensing 43(2), 2005; with a Gaussian mixture in place of k-means, D. W. J. Stein and others,
"Anomaly detection from hyperspectral imagery", IEEE Signal Processing Magazine 19(1), 2002, doi 10.1109/79.974730.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.covariance import TRIMS, CovarianceParams, regularised, trim_limit
from hadgeo.detectors.drawn import ComponentParams, drawn_bytes, drawn_spectra, leading_components
from hadgeo.detectors.kmeans import ClusterParams, background_clusters, spectra_at
from hadgeo.detectors.sklearn import sklearn_module
from hadgeo.detectors.tiles import each_tile
from hadgeo.detectors.whitening import whitening
from hadgeo.errors import FitError
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample

#: How often k-means starts from other centres, of which the best outcome counts.
_STARTS = 3

#: What the pooled covariance weighs beside that of a cluster of n pixels: n, and this many for each band.
_POOLED_WEIGHT = 5

#: Part of the variance of the leading component that a Gaussian of the mixture has at least in each direction.
_LEAST_VARIANCE = 1e-6


class ClusterRXParams(ClusterParams, ComponentParams, CovarianceParams, ContrastParams):
    """Hyper-parameters of RX with clusters."""

    basic = ("clusters", "method", "covariance", "ridge")

    method: Literal["kmeans", "mixture"] = Field(
        default="kmeans",
        title="Method",
        description="How clusters are found among the principal components: by k-means, or as a mixture of Gaussians.",
    )
    covariance: Literal["pooled", "cluster"] = Field(
        default="pooled",
        title="Covariance",
        description="'pooled': all clusters share one covariance, of the differences from their means. 'cluster': each "
        "has its own, for which the pooled one stands in as far as the cluster is small.",
    )


class ClusterRX(ContrastDetector[ClusterRXParams]):
    """The least over clusters k of (x - mₖ)ᵀ Cₖ⁻¹ (x - mₖ).

    By default all clusters share the pooled covariance, of the differences of pixels from the means of their clusters,
    as in linear discriminant analysis: one whitening serves them all, and costs as much as RX. Covariances of their own
    fit each kind of ground better, but a cluster of mixed and bright pixels can be so wide that it takes targets in.

    Attributes:
        means_: Mean spectra of the clusters, float64 (cluster, band).
        whitening_: As of `RX`, for each cluster, or a single one for all, float64 (1 or cluster, rank, band); rows of
            zeros where one has a lower rank than another.
        floor_: See `ContrastDetector`.
    """

    name = "cluster_rx"
    title = "Cluster RX (distance to the nearest cluster)"
    Params = ClusterRXParams
    seed_parameter = "seed"
    fitted_by = "sklearn"
    best_at = "rare spectra in scenes of several kinds of ground, each with a spread of its own"
    explained_by = "the mean spectrum of the nearest cluster"
    relative_cost = 1.0
    reach = 0

    means_: Tensor
    whitening_: Tensor

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Find the clusters of spectra drawn from the scene, and their moments; see `Detector.fit`."""
        spectra = drawn_spectra(sample, pixels=self.params.sample, seed=self.params.seed).double()
        labels = self._labels(spectra)
        kept = background_clusters(labels, self.params.smallest)
        members = [spectra[labels == k] for k in kept]
        self._estimate(members)
        if self.params.robust == "trim":
            for _ in range(TRIMS):
                distances = [self._distances(cluster).amin(dim=1) for cluster in members]
                farthest = trim_limit(torch.cat(distances), self.params.trim)
                near = [cluster[away <= farthest] for cluster, away in zip(members, distances, strict=True)]
                members = [cluster for cluster in near if len(cluster)]
                self._estimate(members)
        self.means_ = self.means_.to(double_device(device))
        self.whitening_ = self.whitening_.to(double_device(device))

    def _labels(self, spectra: Tensor) -> Tensor:
        """The cluster of each spectrum, found among principal components."""
        params = self.params
        mean, basis = leading_components(spectra, params.components)
        components = (spectra - mean) @ basis.T
        if params.method == "kmeans":
            return _mini_batch_labels(components, params.clusters, seed=params.seed, name=self.name)
        components /= components[:, 0].std()
        with sklearn_module("mixture", self.name) as mixture:
            model = mixture.GaussianMixture(
                min(params.clusters, len(spectra)), reg_covar=_LEAST_VARIANCE, random_state=params.seed
            )
            return torch.from_numpy(model.fit_predict(components.numpy())).long()

    def _estimate(self, members: list[Tensor]) -> None:
        """Means and covariances of clusters (pixel, band)."""
        self.means_ = torch.stack([cluster.mean(dim=0) for cluster in members])
        scatters = [(x - mean).T @ (x - mean) for x, mean in zip(members, self.means_, strict=True)]
        count, bands = sum(len(cluster) for cluster in members), members[0].shape[1]
        pooled = torch.stack(scatters).sum(dim=0) / max(count - len(members), 1)
        if not pooled.diagonal().max() > 0:
            raise FitError(
                f"{self.name}: all valid pixels are equal inside their clusters, so there is nothing to detect; "
                "choose fewer clusters"
            )
        if self.params.covariance == "pooled":
            covariances = [pooled]
        else:
            covariances = [
                (scatter + _POOLED_WEIGHT * bands * pooled) / (len(x) + _POOLED_WEIGHT * bands)
                for x, scatter in zip(members, scatters, strict=True)
            ]
        parts = [whitening(regularised(covariance, self.params.ridge)) for covariance in covariances]
        rank = max(len(part) for part in parts)
        self.whitening_ = torch.stack([torch.cat([W, W.new_zeros(rank - len(W), bands)]) for W in parts])

    def _distances(self, spectra: Tensor) -> Tensor:
        """Squared distances of spectra (pixel, band) to all clusters, (pixel, cluster)."""
        if len(self.whitening_) == 1:
            origin, W = self.means_[0], self.whitening_[0]
            white = (spectra - origin) @ W.T
            distances = [(white - centre).square_().sum(dim=1) for centre in (self.means_ - origin) @ W.T]
        else:
            distances = [
                ((spectra - mean) @ W.T).square_().sum(dim=1)
                for mean, W in zip(self.means_, self.whitening_, strict=True)
            ]
        return torch.stack(distances, dim=1)

    def statistic(self, block: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the nearest cluster; see `Detector.score`."""
        return each_tile(block.to(self.means_.device), lambda spectra: self._distances(spectra).amin(dim=1))

    def explain(self, block: Tensor) -> Tensor:
        """The mean of the nearest cluster; see `Detector.explain`."""
        on_device = block.to(self.means_.device)
        nearest = each_tile(on_device, lambda spectra: self._distances(spectra).argmin(dim=1), dtype=torch.long)
        return spectra_at(nearest, self.means_, block)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The distance alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """The spectra drawn and copies of them, and all covariances; see `Detector.fit_bytes`."""
        params = self.params
        near = 8 * bands * min(pixels, params.sample) if params.robust == "trim" else 0
        fit = drawn_bytes(params, bands, pixels) + near + 8 * 3 * params.clusters * bands**2
        return max(super().fit_bytes(bands, pixels), fit)

    def state(self) -> dict[str, Tensor]:
        """Means and whitenings; see `Detector.state`."""
        return {"means": self.means_, "whitening": self.whitening_, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        device = double_device(device)
        self.means_, self.whitening_ = state["means"].to(device), state["whitening"].to(device)
        self.load_contrast_state(state, device)
        return self


def _mini_batch_labels(spectra: Tensor, clusters: int, *, seed: int, name: str) -> Tensor:
    """Divide spectra into clusters by k-means on mini-batches.

    D. Sculley, "Web-scale k-means clustering", International Conference on World Wide Web, 2010,
    doi 10.1145/1772690.1772862.

    Args:
        spectra: (pixel, band), float64.
        clusters: How many, at most; no more than there are pixels.
        seed: Chooses the first centres.
        name: The detector, for messages.

    Returns:
        The cluster of each, (pixel).

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    with sklearn_module("cluster", name) as cluster:
        found = cluster.MiniBatchKMeans(min(clusters, len(spectra)), random_state=seed, n_init=_STARTS, batch_size=4096)
        # Without their common part, which would cost digits.
        return torch.from_numpy(found.fit_predict((spectra - spectra.mean(dim=0)).numpy())).long()
