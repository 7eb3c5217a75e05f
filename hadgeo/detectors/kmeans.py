"""The distance of each spectrum to the nearest of the clusters that the scene falls into.

After the method KMEANS of "Detect Image Anomalies" in ArcGIS Pro, which scores what deviates from the clusters of an
image; its documentation gives no formula. Clusters are found on mini-batches by scikit-learn: D. Sculley, "Web-scale
k-means clustering", International Conference on World Wide Web, 2010, doi 10.1145/1772690.1772862.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.drawn import DrawnParams, drawn_bytes, drawn_spectra
from hadgeo.detectors.pixelwise import pixelwise
from hadgeo.detectors.sklearn import sklearn_module
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels

#: How often k-means starts from other centres, of which the best outcome counts.
_STARTS = 3


class ClusterParams(DrawnParams):
    """Hyper-parameters of a detector that knows the scene as clusters."""

    clusters: int = Field(
        default=16, title="Clusters", description="Number of clusters that the scene is divided into.", ge=1, le=256
    )
    smallest: float = Field(
        default=0.1,
        title="Smallest cluster",
        description="A cluster of fewer pixels than this share of the average is taken for targets, and is no part of "
        "the background.",
        ge=0,
        lt=1,
    )


class KMeansParams(ClusterParams, ContrastParams):
    """Hyper-parameters of k-means."""

    basic = ("clusters", "smallest")


class KMeans(ContrastDetector[KMeansParams]):
    """Euclidean distance to the nearest centre of k-means, in the units of the input.

    Bands count as they are: such with larger values, or more noise, count more.

    Attributes:
        centres_: Mean spectra of the clusters, float64 (cluster, band).
        floor_: See `ContrastDetector`.
    """

    name = "kmeans"
    title = "k-means (distance to the nearest cluster)"
    Params = KMeansParams
    seed_parameter = "seed"
    fitted_by = "sklearn"
    best_at = "bright or strongly coloured objects among a few kinds of ground"
    explained_by = "the mean spectrum of the nearest cluster"
    reach = 0

    centres_: Tensor

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Find the clusters of spectra drawn from the scene; see `Detector.fit`."""
        params = self.params
        spectra = drawn_spectra(sample, pixels=params.sample, seed=params.seed).double()
        labels = kmeans_labels(spectra, params.clusters, seed=params.seed, name=self.name)
        kept = background_clusters(labels, params.smallest)
        self.centres_ = torch.stack([spectra[labels == k].mean(dim=0) for k in kept]).to(double_device(device))

    def statistic(self, block: Tensor) -> Tensor:
        """Distance to the nearest centre; see `Detector.score`."""
        return pixelwise(block.to(self.centres_.device), lambda spectra: self._distances(spectra).amin(dim=1).sqrt())

    def _distances(self, spectra: Tensor) -> Tensor:
        """Squared distances of spectra (pixel, band) to all centres, (pixel, cluster)."""
        return torch.stack([(spectra - centre).square_().sum(dim=1) for centre in self.centres_], dim=1)

    def explain(self, block: Tensor) -> Tensor:
        """The centre of the nearest cluster; see `Detector.explain`."""
        on_device = block.to(self.centres_.device)
        nearest = pixelwise(on_device, lambda spectra: self._distances(spectra).argmin(dim=1), torch.long)
        return spectra_at(nearest, self.centres_, block)

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The distance alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """The spectra drawn, and the copies that k-means makes of them; see `Detector.fit_bytes`."""
        return max(super().fit_bytes(bands, pixels), drawn_bytes(self.params, bands, pixels))

    def state(self) -> dict[str, Tensor]:
        """The centres; see `Detector.state`."""
        return {"centres": self.centres_, **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        self.centres_ = state["centres"].to(double_device(device))
        self.load_contrast_state(state, double_device(device))
        return self


def kmeans_labels(spectra: Tensor, clusters: int, *, seed: int, name: str) -> Tensor:
    """Divide spectra into clusters by k-means.

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


def background_clusters(labels: Tensor, smallest: float) -> list[int]:
    """Clusters with enough pixels to be background, in ascending order; the largest always is.

    Args:
        labels: The cluster of each pixel.
        smallest: Share of the average number of pixels that a cluster needs.
    """
    counts = labels.bincount()
    enough = smallest * len(labels) / int((counts > 0).sum())
    return [k for k, count in enumerate(counts.tolist()) if count and count >= enough]


def spectra_at(index: Tensor, spectra: Tensor, block: Tensor) -> Tensor:
    """A spectrum for each valid pixel, of a few; NaN elsewhere.

    Args:
        index: Which one, (y, x).
        spectra: (n, band).
        block: The window that they stand for, (band, y, x).

    Returns:
        As `block`.
    """
    chosen = spectra.to(block)[index.to(block.device)].permute(2, 0, 1)
    return torch.where(valid_pixels(block), chosen, torch.nan)
