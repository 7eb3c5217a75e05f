"""Isolation forest: how few random cuts set a spectrum apart from others.

F. T. Liu, K. M. Ting and Z.-H. Zhou, "Isolation forest", IEEE International Conference on Data Mining, 2008,
doi 10.1109/ICDM.2008.17. scikit-learn grows the trees, on principal components; here they are walked as tensors.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hadgeo.compute.device import double_device
from hadgeo.detectors.contrast import ContrastDetector, ContrastParams
from hadgeo.detectors.drawn import ComponentParams, DrawnParams, drawn_bytes, drawn_spectra, leading_components
from hadgeo.detectors.sklearn import sklearn_module
from hadgeo.detectors.tiles import each_tile
from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import Sample

_LARGEST = np.finfo(np.float32).max


class IsolationForestParams(DrawnParams, ComponentParams, ContrastParams):
    """Hyper-parameters of an isolation forest."""

    basic = ("components", "trees")

    trees: int = Field(default=100, title="Trees", description="Number of trees.", ge=1, le=1000)
    tree_sample: int = Field(
        default=1024,
        title="Pixels of a tree",
        description="Number of the sampled pixels that each tree is grown from, drawn anew for each.",
        ge=2,
        le=2**16,
    )


class IsolationForest(ContrastDetector[IsolationForestParams]):
    """Anomaly score of an isolation forest, 2^(-E(h) / c(n)) in (0, 1) (Liu, Ting and Zhou 2008, eq. 2).

    E(h) is the mean length of the paths on which a pixel goes down the trees, c(n) (eq. 1) that of an unsuccessful
    search in a tree of n pixels. All trees lie in one table of nodes; the children of a node are neighbours in it, and
    a leaf is its own child. Indices are int32, by which torch selects more than twice as fast as by int64.

    Attributes:
        mean_: Mean spectrum, float64 (band).
        basis_: Principal components as rows, float64 (component, band).
        roots_: Node at which each tree begins, (tree).
        feature_: Component that a node looks at, (node).
        threshold_: A pixel goes to the first child if its component is no larger, float32 (node); at a leaf it does.
        child_: The first child, (node).
        length_: At a leaf: its depth, and c of the number of its pixels, over c(n), float64 (node).
        depth_: Steps from a root to the deepest leaf.
        floor_: See `ContrastDetector`.
    """

    name = "isolation_forest"
    title = "Isolation forest"
    Params = IsolationForestParams
    seed_parameter = "seed"
    fitted_by = "sklearn"
    best_at = "extreme spectra, with no model of the background at all"
    relative_cost = 2.1
    reach = 0

    mean_: Tensor
    basis_: Tensor
    roots_: Tensor
    feature_: Tensor
    threshold_: Tensor
    child_: Tensor
    length_: Tensor
    depth_: int

    def learn(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> None:  # noqa: ARG002
        """Grow the trees from spectra drawn from the scene; see `Detector.fit`."""
        params = self.params
        spectra = drawn_spectra(sample, pixels=params.sample, seed=params.seed).double()
        self.mean_, self.basis_ = leading_components(spectra, params.components)
        components = self._components(spectra).numpy()
        with sklearn_module("ensemble", self.name) as ensemble:
            forest = ensemble.IsolationForest(
                n_estimators=params.trees,
                max_samples=min(params.tree_sample, len(components)),
                random_state=params.seed,
            ).fit(components)
        self._take_trees([tree.tree_ for tree in forest.estimators_], forest.max_samples_)
        self._move(double_device(device))

    def _components(self, spectra: Tensor) -> Tensor:
        """Principal components of spectra, float32 as scikit-learn's trees take them, (pixel, component)."""
        return ((spectra - self.mean_) @ self.basis_.T).float()

    def _take_trees(self, trees: list[Any], grown_from: int) -> None:
        """Put scikit-learn's trees into one table."""
        tables, roots, start, self.depth_ = [], [], 0, 0
        for tree in trees:
            order, depth = _breadth_first(tree.children_left, tree.children_right)
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            leaf = tree.children_left[order] < 0
            length = depth[order] + _search_length(tree.n_node_samples[order])
            tables.append(
                (
                    np.where(leaf, 0, tree.feature[order]),
                    np.where(leaf, _LARGEST, _round_down(tree.threshold[order])),
                    start + np.where(leaf, np.arange(len(order)), place[tree.children_left[order]]),
                    np.where(leaf, length, 0.0),
                )
            )
            roots.append(start)
            start += len(order)
            self.depth_ = max(self.depth_, int(depth.max()))
        feature, threshold, child, length = (np.concatenate(column) for column in zip(*tables, strict=True))
        self.roots_ = torch.tensor(roots, dtype=torch.int32)
        self.feature_ = torch.from_numpy(feature.astype(np.int32))
        self.threshold_ = torch.from_numpy(threshold.astype(np.float32))
        self.child_ = torch.from_numpy(child.astype(np.int32))
        self.length_ = torch.from_numpy(length / float(_search_length(np.array([grown_from]))[0]))

    def _move(self, device: torch.device) -> None:
        for key in self._tensors():
            setattr(self, key, getattr(self, key).to(device))

    @staticmethod
    def _tensors() -> tuple[str, ...]:
        return ("mean_", "basis_", "roots_", "feature_", "threshold_", "child_", "length_")

    def statistic(self, block: Tensor) -> Tensor:
        """The anomaly score; see `Detector.score`."""
        return each_tile(block.to(self.mean_.device), self._isolation)

    def _isolation(self, spectra: Tensor) -> Tensor:
        components = self._components(spectra)
        pixels, trees = len(components), len(self.roots_)
        # Not even an infinite value, which is invalid, may leave a leaf.
        values = components.flatten().clamp_(max=float(_LARGEST))
        first = torch.arange(0, len(values), components.shape[1], dtype=torch.int32, device=values.device)
        first, node = first.repeat_interleave(trees), self.roots_.repeat(pixels)
        for _ in range(self.depth_):
            value = values.index_select(0, first + self.feature_.index_select(0, node))
            node = self.child_.index_select(0, node) + (value > self.threshold_.index_select(0, node))
        return torch.exp2(-self.length_.index_select(0, node).reshape(pixels, trees).mean(dim=1))

    def bytes_per_pixel(self, bands: int) -> int:  # noqa: ARG002 - copies are of a few spectra at a time
        """The score alone; see `Detector.bytes_per_pixel`."""
        return 8

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """The spectra drawn and copies of them, and the trees; see `Detector.fit_bytes`."""
        nodes = self.params.trees * 2 * min(self.params.tree_sample, max(pixels, 1))
        return max(super().fit_bytes(bands, pixels), drawn_bytes(self.params, bands, pixels) + 256 * nodes)

    def state(self) -> dict[str, Tensor]:
        """Components and trees; see `Detector.state`."""
        tensors = {key.rstrip("_"): getattr(self, key) for key in self._tensors()}
        return {**tensors, "depth": torch.tensor(self.depth_), **self.contrast_state()}

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take them back; see `Detector.load_state`."""
        for key in self._tensors():
            setattr(self, key, state[key.rstrip("_")])
        self.depth_ = int(state["depth"])
        self._move(double_device(device))
        self.load_contrast_state(state, double_device(device))
        return self


def _breadth_first(left: Any, right: Any) -> tuple[Any, Any]:
    """Nodes of a tree level by level, so that the children of each are neighbours; and the depth of each node."""
    depth = np.zeros(len(left), dtype=np.int64)
    levels, level = [], np.zeros(1, dtype=np.int64)
    while len(level):
        levels.append(level)
        inner = level[left[level] >= 0]
        depth[left[inner]] = depth[right[inner]] = depth[inner] + 1
        level = np.stack([left[inner], right[inner]], axis=1).ravel()
    return np.concatenate(levels), depth


def _search_length(count: Any) -> Any:
    """Mean length of an unsuccessful search in a binary tree of n values, c(n) of Liu, Ting and Zhou 2008, eq. 1."""
    n = np.maximum(count, 3).astype(np.float64)
    long = 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n
    return np.where(count <= 1, 0.0, np.where(count == 2, 1.0, long))


def _round_down(threshold: Any) -> Any:
    """The largest float32 that is no larger: of float32 values it parts the same."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
