"""Styles in files beside a layer's own, where QGIS looks for them: ``x.qml`` beside ``x.tif`` and beside ``x.geojson``.

QGIS asks for the stem alone, so a score map and its polygons of one stem have one such file between them. A style of a
raster and one of a vector layer have no element in common that matters, so both stand in it, and each layer takes its
own.
"""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsMapLayer

#: What the style of a raster consists of; all else is of vector layers, or of both.
_OF_RASTERS = {"pipe", "pipe-data-defined-properties", "blendMode"}


def save(layer, path: str) -> None:
    """Write a layer's style beside its file, and leave that of the other kind of layer in there.

    Args:
        layer: The layer.
        path: Its file.
    """
    file = Path(path).with_suffix(".qml")
    before = _read(file)
    layer.saveNamedStyle(str(file))
    now = None if before is None else _read(file)
    if before is None or now is None:
        return
    raster = layer.type() == QgsMapLayer.LayerType.RasterLayer
    root = now.documentElement()
    there = _names(root)
    kept = [node for node in _children(before.documentElement()) if (node.nodeName() in _OF_RASTERS) != raster]
    for node in kept:
        if node.nodeName() not in there:
            root.appendChild(now.importNode(node, True))
    file.write_bytes(bytes(now.toByteArray(1)))


def _read(file: Path):
    """A style as a document, or None where there is none."""
    if not file.is_file():
        return None
    # Needed where two layers share a file, and nowhere else.
    from qgis.PyQt.QtXml import QDomDocument

    document = QDomDocument()
    document.setContent(file.read_bytes())
    return None if document.documentElement().isNull() else document


def _children(element) -> list:
    nodes = element.childNodes()
    return [nodes.at(i) for i in range(nodes.count()) if nodes.at(i).isElement()]


def _names(element) -> set:
    return {node.nodeName() for node in _children(element)}
