"""How anomalies look as polygons: coloured by rarity, numbered, with a map tip that shows what is known of each."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsCentroidFillSymbolLayer,
    QgsDataProvider,
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

from . import sidecar

#: The layer of anomalies in a GeoPackage.
LAYER = "anomalies"

#: Upper limits of p-values, among groups of background, and the colour of each class: seen on the dark ramp of scores
#: as on a picture of the scene.
CLASSES = ((1e-4, "#ffff33"), (1e-3, "#66ff66"), (1e-2, "#33e0ff"), (1e-1, "#5c9dff"), (1.0, "#b9b3ff"))

#: A p-value as people write it: 0.012, and 1.2 × 10⁻⁵ where that is shorter to read.
_P_VALUE = (
    'if("p_value" > 0, with_variable(\'power\', floor(log10("p_value") + 0.00218), '
    'if(@power > -4, round("p_value", 1 - @power), '
    "format_number(\"p_value\" / 10 ^ @power, 1) || ' × 10<sup>−' || to_string(-@power) || '</sup>')), "
    "coalesce(\"p_value\", ''))"
)

#: One row of the map tip: what it says, and the expression of its value.
_ROWS = (
    ("Highest score", 'format_number("max_score", 3)'),
    ("p-value", _P_VALUE),
    ("Expected false alarms", 'format_number("expected_false_alarms", 2)'),
    ("Pixels", '"pixels"'),
    ("Area", "coalesce(format_number(\"area_m2\", 0) || ' m²', '')"),
    ("Longitude, latitude", "coalesce(format_number(\"lon\", 5) || ', ' || format_number(\"lat\", 5), '')"),
    ("Stands out at", "coalesce(\"bands\", '')"),
    ("Detector", "coalesce(\"detector\", '')"),
)

#: Width and height of a picture in the map tip, of 800 x 360 pixels.
_WIDTH, _HEIGHT = 480, 216

#: The picture of an anomaly, from the folder beside the file of the layer, as `spectra_folder` has it. Signs that mean
#: something in an address are written as their numbers, the percent sign itself first.
_PICTURE = (
    "with_variable('file', with_variable('own', replace(decode_uri(@layer, 'path'), '\\\\', '/'), "
    "file_path(@own) || '/' || base_file_name(@own) || '_spectra/anomaly_' || to_string(\"id\") || '.png'), "
    "if(file_exists(@file), '<img src=\"file://' || if(left(@file, 1) = '/', '', '/') || "
    "replace(replace(@file, '%', '%25'), map('#', '%23', '?', '%3F', '\"', '%22', '<', '%3C', ' ', '%20')) || "
    f'\'" width="{_WIDTH}" height="{_HEIGHT}"/><br/>\', \'\'))'
)


def spectra_folder(polygons: str) -> Path:
    """Where the pictures of a polygon file's anomalies are."""
    path = Path(polygons)
    return path.with_name(f"{path.stem}_spectra")


def style_polygons(layer: QgsVectorLayer, *, pictures: bool) -> None:
    """Give a layer of anomalies its symbols, labels and map tip.

    Args:
        layer: The layer.
        pictures: Whether its spectra were plotted; those of an earlier run are of other anomalies.
    """
    layer.setRenderer(_renderer())
    layer.setLabeling(_labels())
    layer.setLabelsEnabled(True)
    layer.setMapTipTemplate(_map_tip(pictures=pictures))
    layer.setDisplayExpression('"id"')


def save_polygon_style(polygons: str, *, pictures: bool = False) -> None:
    """Keep the style with a vector file: inside a GeoPackage, beside any other.

    Args:
        polygons: The file.
        pictures: As for `style_polygons`.
    """
    layer = QgsVectorLayer(source_of(polygons), "anomalies", "ogr")
    if not layer.isValid():
        return
    style_polygons(layer, pictures=pictures)
    if Path(polygons).suffix.lower() == ".gpkg":
        layer.saveStyleToDatabase("hadgeo", "anomalies by p-value", True, "")
    else:
        sidecar.save(layer, polygons)


def source_of(polygons: str) -> str:
    """A file of anomalies as QGIS opens it: in a GeoPackage, other layers may stand beside them."""
    if Path(polygons).suffix.lower() != ".gpkg":
        return polygons
    names = [layer.split(QgsDataProvider.sublayerSeparator())[1] for layer in _layers(polygons)]
    return f"{polygons}|layername={LAYER}" if len(names) > 1 and LAYER in names else polygons


def _layers(path: str) -> list:
    layer = QgsVectorLayer(path, "all", "ogr")
    return layer.dataProvider().subLayers() if layer.isValid() else []


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


def _map_tip(*, pictures: bool) -> str:
    """The picture first, in its full size, so that nothing of it lies beyond the edge; then what is known in numbers.

    No path stands in it: files are sought beside the layer's own, wherever that is by now and whatever it is called.
    """
    rows = "".join(f"<tr><td>{title}&nbsp;</td><td>[% {value} %]</td></tr>" for title, value in _ROWS)
    picture = f"[% {_PICTURE} %]" if pictures else ""
    return f'{picture}<b>Anomaly [% "id" %]</b><table>{rows}</table>'
