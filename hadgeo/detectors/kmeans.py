"""The distance of each spectrum to the nearest of the clusters that the scene falls into.

After the method KMEANS of "Detect Image Anomalies" in ArcGIS Pro, which scores what deviates from the clusters of an
image; its documentation gives no formula. Clusters are found by Lloyd's algorithm from the starts of k-means++: D.
Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", ACM-SIAM Symposium on Discrete Algorithms,
2007.
"""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
import torch
from pydantic import Field
from scipy.cluster.vq import kmeans2
from threadpoolctl import threadpool_limits
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.drawn import DrawnParams, drawn_bytes, drawn_spectra
from hadgeo.detectors.tiles import each_tile
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample, valid_pixels

#: How often k-means starts from other centres, of which the best outcome counts, and the steps of each attempt.
_STARTS, _ITERATIONS = 3, 25


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
    best_at = "bright or strongly coloured objects among a few kinds of ground"
    explained_by = "the mean spectrum of the nearest cluster"
    relative_cost = 2.8
    reach = 0

    centres_: Tensor

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Find the clusters of spectra drawn from the scene; see `Detector.fit`."""
        params = self.params
        spectra = drawn_spectra(sample, pixels=params.sample, seed=params.seed).double()
        labels = kmeans_labels(spectra, params.clusters, seed=params.seed)
        kept = background_clusters(labels, params.smallest)
        self.centres_ = torch.stack([spectra[labels == k].mean(dim=0) for k in kept]).to(double_device(device))

    def statistic(self, block: Tensor) -> Tensor:
        """Distance to the nearest centre; see `Detector.score`."""
        return each_tile(block.to(self.centres_.device), lambda spectra: self._distances(spectra).amin(dim=1))

    def _distances(self, spectra: Tensor) -> Tensor:
        """Distances of spectra (pixel, band) to all centres, (pixel, cluster)."""
        # By differences: in a product, what is far from the other centres would lose all digits.
        return torch.cdist(spectra.to(self.centres_), self.centres_, compute_mode="donot_use_mm_for_euclid_dist")

    def explain(self, block: Tensor) -> Tensor:
        """The centre of the nearest cluster; see `Detector.explain`."""
        on_device = block.to(self.centres_.device)
        nearest = each_tile(on_device, lambda spectra: self._distances(spectra).argmin(dim=1), dtype=torch.long)
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


def kmeans_labels(spectra: Tensor, clusters: int, *, seed: int) -> Tensor:
    """Divide spectra into clusters by k-means, the tightest of several attempts.

    Args:
        spectra: (pixel, band), float64.
        clusters: How many, at most; no more than there are pixels.
        seed: Chooses the first centres.

    Returns:
        The cluster of each, (pixel).
    """
    rng = np.random.default_rng(seed)
    # Without their common part, which would cost digits.
    points = (spectra - spectra.mean(dim=0)).numpy()
    best, least = np.zeros(len(points), dtype=np.int64), np.inf
    # Sums over all cores would end in other digits on another machine.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster that has lost all its pixels stays empty
        for _ in range(_STARTS):
            centres, labels = kmeans2(points, min(clusters, len(points)), iter=_ITERATIONS, minit="++", seed=rng)
            spread = float(np.square(points - centres[labels]).sum())
            if spread < least:
                best, least = labels, spread
    return torch.from_numpy(best).long()


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
