"""How anomalies look as polygons: coloured by rarity, numbered, with a map tip that shows what is known of each."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsCentroidFillSymbolLayer,
    QgsFillSymbol,
    QgsGraduatedSymbolRenderer,
    QgsMarkerSymbol,
    QgsPalLayerSettings,
    QgsRendererRange,
    QgsTextBufferSettings,
    QgsTextFormat,
    QgsVectorLayer,
    QgsVectorLayerSimpleLabeling,
)
from qgis.PyQt.QtGui import QColor

#: Upper limits of p-values, among groups of background, and the colour of each class: seen on the dark ramp of scores
#: as on a picture of the scene.
CLASSES = ((1e-4, "#ffff33"), (1e-3, "#66ff66"), (1e-2, "#33e0ff"), (1e-1, "#5c9dff"), (1.0, "#b9b3ff"))

#: One row of the map tip: what it says, and the expression of its value.
_ROWS = (
    ("Highest score", 'format_number("max_score", 3)'),
    ("p-value", '"p_value"'),
    ("Expected false alarms", 'format_number("expected_false_alarms", 2)'),
    ("Pixels", '"pixels"'),
    ("Area", "coalesce(format_number(\"area_m2\", 0) || ' m²', '')"),
    ("Longitude, latitude", "coalesce(format_number(\"lon\", 5) || ', ' || format_number(\"lat\", 5), '')"),
    ("Stands out at", "coalesce(\"bands\", '')"),
    ("Detector", "coalesce(\"detector\", '')"),
)


def spectra_folder(polygons: str) -> Path:
    """Where the pictures of a polygon file's anomalies are."""
    path = Path(polygons)
    return path.with_name(f"{path.stem}_spectra")


def style_polygons(layer: QgsVectorLayer, polygons: str) -> None:
    """Give a layer of anomalies its symbols, labels and map tip.

    Args:
        layer: The layer.
        polygons: The file that it shows.
    """
    layer.setRenderer(_renderer())
    layer.setLabeling(_labels())
    layer.setLabelsEnabled(True)
    layer.setMapTipTemplate(_map_tip(spectra_folder(polygons)))
    layer.setDisplayExpression('"id"')


def save_polygon_style(polygons: str) -> None:
    """Keep the style with a vector file: inside a GeoPackage, beside any other."""
    layer = QgsVectorLayer(polygons, "anomalies", "ogr")
    if not layer.isValid():
        return
    style_polygons(layer, polygons)
    if Path(polygons).suffix.lower() == ".gpkg":
        # A sidecar would be that of a score map of the same stem, too.
        layer.saveStyleToDatabase("hadgeo", "anomalies by p-value", True, "")
    else:
        layer.saveNamedStyle(str(Path(polygons).with_suffix(".qml")))


def _renderer() -> QgsGraduatedSymbolRenderer:
    ranges, low = [], 0.0
    for high, colour in CLASSES:
        symbol = _symbol(colour)
        label = f"p ≤ {high:g}" if high < 1 else f"p > {low:g}"
        ranges.append(QgsRendererRange(low, high, symbol, label))
        low = high
    return QgsGraduatedSymbolRenderer("p_value", ranges)


def _symbol(colour: str) -> QgsFillSymbol:
    """An outline, and a ring around the middle: a polygon of one pixel is seen at every scale."""
    symbol = QgsFillSymbol.createSimple(
        {"color": "0,0,0,0", "outline_color": colour, "outline_width": "0.5", "outline_style": "solid"}
    )
    ring = QgsMarkerSymbol.createSimple(
        {"name": "circle", "color": "0,0,0,0", "outline_color": colour, "outline_width": "0.4", "size": "3.5"}
    )
    centre = QgsCentroidFillSymbolLayer()
    centre.setSubSymbol(ring)
    symbol.appendSymbolLayer(centre)
    return symbol


def _labels() -> QgsVectorLayerSimpleLabeling:
    halo = QgsTextBufferSettings()
    halo.setEnabled(True)
    halo.setSize(0.7)
    halo.setColor(QColor("#000004"))
    text = QgsTextFormat()
    text.setSize(9)
    text.setColor(QColor("#ffffff"))
    text.setBuffer(halo)
    settings = QgsPalLayerSettings()
    settings.fieldName = "id"
    settings.setFormat(text)
    settings.dist = 2
    # The rarest first, where there is no room for all.
    settings.priority = 7
    return QgsVectorLayerSimpleLabeling(settings)


def _map_tip(spectra: Path) -> str:
    rows = "".join(f"<tr><td>{title}&nbsp;</td><td>[% {value} %]</td></tr>" for title, value in _ROWS)
    folder = spectra.absolute().as_uri()
    file = f"'{spectra.absolute().as_posix()}/anomaly_' || \"id\" || '.png'".replace("[%", "")
    picture = f"if(file_exists({file}), '<img src=\"{folder}/anomaly_' || \"id\" || '.png\" width=\"420\"/>', '')"
    return f'<b>Anomaly [% "id" %]</b><table>{rows}</table>[% {picture} %]'
