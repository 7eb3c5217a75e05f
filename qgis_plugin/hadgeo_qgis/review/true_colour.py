"""A scene as eyes would see it."""

from __future__ import annotations

from qgis.core import QgsContrastEnhancement, QgsMultiBandColorRenderer, QgsRasterLayer, QgsRasterMinMaxOrigin

from ..handover import absolute
from .scene import Scene, SceneError

#: A raster of fewer bands is a picture already.
FEWEST_BANDS = 8


def is_scene(layer) -> bool:
    """Whether a layer is a raster of spectra, as far as one can see without opening its file."""
    if not isinstance(layer, QgsRasterLayer) or not layer.isValid():
        return False
    return layer.providerType() == "gdal" and layer.bandCount() >= FEWEST_BANDS


def opened(layer) -> Scene:
    """The scene behind a layer.

    Raises:
        SceneError: It cannot be read.
    """
    return Scene(absolute(layer.source()))


def can_show(layer) -> bool:
    """Whether a layer is a scene of known wavelengths that is not shown in true colour yet."""
    if not is_scene(layer):
        return False
    try:
        scene = opened(layer)
    except SceneError:
        return False
    renderer = layer.renderer()
    shown = renderer.usesBands() if isinstance(renderer, QgsMultiBandColorRenderer) else []
    return scene.shows == "true colour" and list(shown) != [band + 1 for band in scene.colours]


def show(layer) -> str:
    """Show a scene in the good bands nearest to 640, 550 and 460 nm, or in false colour where it has none there.

    Each is stretched from the 2nd to the 98th percentile.

    Args:
        layer: One for which `is_scene`.

    Returns:
        What is shown, for people.

    Raises:
        SceneError: The scene cannot be read.
    """
    scene = opened(layer)
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), *(band + 1 for band in scene.colours)))
    layer.setContrastEnhancement(
        QgsContrastEnhancement.ContrastEnhancementAlgorithm.StretchToMinimumMaximum,
        QgsRasterMinMaxOrigin.Limits.CumulativeCut,
    )
    layer.triggerRepaint()
    centres = [scene.wavelengths[band] for band in scene.colours]
    named = "/".join(f"{centre:.0f}" for centre in centres)
    numbered = "/".join(str(band + 1) for band in scene.colours)
    return f"{scene.shows}, " + (f"{named} nm" if all(centre == centre for centre in centres) else f"bands {numbered}")
