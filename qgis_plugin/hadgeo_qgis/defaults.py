"""Which layer of the project a dialog begins with."""

from __future__ import annotations

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer

from .review.suggest import tags

#: Under what a parameter says which kind of layer it is meant for.
MEANT = "hadgeo_meant"

SCENE, SCORES, TRUTH = "scene", "scores", "truth"

#: A raster of so many bands has spectra; fewer are a picture, a score map or a terrain.
SPECTRAL_BANDS = 10

#: How hadgeo and others end the names of truths.
_TRUTH_WORDS = ("truth", "_gt", "ground truth")


def meant_for(parameter, kind: str):
    """Say which kind of layer a parameter is meant for."""
    parameter.setMetadata({**parameter.metadata(), MEANT: kind})
    return parameter


def layer_meant(kind: str, shown=None):
    """The layer that a dialog is to begin with; None for the one that it shows.

    Args:
        kind: SCENE, SCORES or TRUTH.
        shown: The id of the layer that QGIS has chosen: the active or the topmost one.
    """
    layers = [layer for layer in QgsProject.instance().mapLayers().values() if _SUITS[kind](layer)]
    now = next((layer for layer in layers if layer.id() == shown), None)
    best = max(layers, key=_RANK[kind], default=None)
    if now is None or best is None:
        return best
    # A scene that the user works on is meant, though another may have more bands.
    fits = now.bandCount() >= SPECTRAL_BANDS if kind == SCENE else False
    return None if fits or _RANK[kind](now) == _RANK[kind](best) else best


def _is_scene(layer) -> bool:
    return _is_file(layer) and layer.bandCount() > 1


def _is_scores(layer) -> bool:
    return _is_file(layer) and layer.bandCount() == 1 and not _is_truth(layer)


def _is_truth(layer) -> bool:
    name = layer.name().lower()
    return (isinstance(layer, QgsVectorLayer) or _is_file(layer)) and any(word in name for word in _TRUTH_WORDS)


def _is_file(layer) -> bool:
    return isinstance(layer, QgsRasterLayer) and layer.isValid() and layer.providerType() == "gdal"


_SUITS = {SCENE: _is_scene, SCORES: _is_scores, TRUTH: _is_truth}

#: The higher, the rather it is the one: more bands, a map of hadgeo's own, outlines.
_RANK = {
    SCENE: lambda layer: layer.bandCount(),
    SCORES: lambda layer: "HADGEO_DETECTOR" in tags(layer),
    TRUTH: lambda layer: isinstance(layer, QgsVectorLayer),
}
