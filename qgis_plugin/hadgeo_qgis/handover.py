"""Files and layers as the backend, a program in another folder that knows nothing of QGIS, can open them.

The backend opens files by their paths. Where a layer is more, or less, than its file, such as one with a filter, a
scratch layer, or one whose CRS the user assigned, what QGIS shows of it is written to a temporary file.
"""

from __future__ import annotations

import re
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsMapLayer,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingUtils,
    QgsProject,
    QgsProperty,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
)

#: Vector files that the backend reads as such; it takes everything else for a raster.
VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp", ".fgb", ".kml", ".gml")

#: GDAL's number for tables without geometries.
_NO_GEOMETRY = 100

#: Features between two questions whether the user has cancelled.
_ASK_EVERY = 500


def absolute(source: str) -> str:
    """A file's absolute path; GDAL's other names, such as /vsizip/… or NETCDF:"…":x, as they are."""
    file = str(source).split("|", 1)[0]
    if not file:
        return ""
    path = Path(file)
    try:
        there = path.exists()
    except (OSError, ValueError):
        # Longer than any name, or with a zero in it: what it is, the backend will say.
        there = False
    if there:
        # Not `resolve`: it would follow links, and outputs are named after what the user sees.
        return str(path.absolute())
    return _subdataset(str(source))


def _subdataset(name: str) -> str:
    """A file in a longer name, as in HDF5:"line.h5"://cube, NETCDF:line.nc:x or library.txt#oak, in full."""
    file, mark, choice = name.rpartition("#")
    if mark and Path(file).is_file():
        return f"{Path(file).absolute()}#{choice}"
    found = re.fullmatch(r'([A-Za-z][A-Za-z0-9_]+):("?)(.+?)\2(:.*)?', name)
    if found is None or not Path(found[3]).is_file():
        return name
    return f"{found[1]}:{found[2]}{Path(found[3]).absolute()}{found[2]}{found[4] or ''}"


def absolute_output(path: str) -> str:
    """Where an output shall stand, as seen from any folder; an empty text stays one."""
    return str(Path(path).absolute()) if path else path


def layer_of(given, context, *, raster: bool = False):
    """The layer that a parameter's value means, or None where QGIS cannot open it.

    Args:
        given: The parameter's value.
        context: Processing's.
        raster: Whether nothing but a raster is meant: QGIS takes NetCDF for tables, where it can.
    """
    if isinstance(given, QgsMapLayer):
        return given
    text = text_of(given, context)
    if not text:
        return None
    hints = QgsProcessingUtils.LayerHint
    layer = None if raster else QgsProcessingUtils.mapLayerFromString(text, context)
    if layer is None or (layer.type() == QgsMapLayer.LayerType.VectorLayer and not layer.isSpatial()):
        return QgsProcessingUtils.mapLayerFromString(text, context, True, hints.Raster)
    return layer


def text_of(given, context) -> str:
    """A parameter's value as text: the path or the id of a layer."""
    if isinstance(given, QgsProcessingFeatureSourceDefinition):
        given = given.source
    if isinstance(given, QgsProperty):
        given = given.valueAsString(context.expressionContext())[0]
    if isinstance(given, QgsMapLayer):
        return given.id()
    return "" if given is None else str(given)


def raster(layer, given, context) -> str:
    """The file of a raster, as the backend opens it.

    Args:
        layer: The layer, or None where QGIS cannot open what was given.
        given: What was given.
        context: Processing's.

    Raises:
        QgsProcessingException: There is no file.
    """
    if layer is None:
        # QGIS does not open MATLAB, nor arrays in groups of HDF5; the backend may, and says it best where it cannot.
        path = absolute(text_of(given, context))
        if Path(path).exists():
            return path
        raise QgsProcessingException(f"{text_of(given, context)} is not a readable raster: check the path")
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            f"the layer '{layer.name()}' comes from the provider '{layer.providerType()}' and has no file of spectra: "
            "choose a raster file, such as GeoTIFF or ENVI"
        )
    return absolute(layer.source())


def overlay(given, context, feedback, *, selected: bool = False) -> str:
    """The file of a truth, a mask or polygons: a raster's own, or what QGIS shows of a layer of features.

    Args:
        given: The parameter's value.
        context: Processing's.
        feedback: Processing's.
        selected: Whether the selected features of a layer, where there are any, are all that is meant.

    Raises:
        QgsProcessingException: There is no file, or nothing to write into one.
    """
    layer = layer_of(given, context)
    if layer is None or layer.type() != QgsMapLayer.LayerType.VectorLayer:
        return assigned_crs(raster(layer, given, context), layer)
    if isinstance(given, QgsProcessingFeatureSourceDefinition):
        selected, limit = given.selectedFeaturesOnly, given.featureLimit
        expression = getattr(given, "filterExpression", "")
        if selected and not layer.selectedFeatureCount():
            raise QgsProcessingException(
                f"no feature of the layer '{layer.name()}' is selected: select some, or leave 'Selected features only'"
            )
    else:
        selected, limit, expression = selected and layer.selectedFeatureCount() > 0, -1, ""
    if not selected and limit < 0 and not expression and _says_it_all(layer):
        return absolute(layer.source())
    request = QgsFeatureRequest()
    if selected:
        request.setFilterFids(layer.selectedFeatureIds())
    if expression:
        request.setFilterExpression(expression)
    if limit >= 0:
        request.setLimit(limit)
    path = _exported(layer, request, feedback)
    feedback.pushInfo(f"'{layer.name()}' is handed over as QGIS shows it: {path}")
    return path


def _says_it_all(layer) -> bool:
    """Whether a vector layer's file has just what QGIS shows: one layer, no filter, no edits, the same CRS."""
    if layer.providerType() != "ogr" or layer.subsetString() or layer.isModified():
        return False
    file, *options = layer.source().split("|")
    path = Path(file)
    if path.suffix.lower() not in VECTOR_SUFFIXES or not path.is_file():
        return False
    if any(not option.lower().startswith(("layername=", "layerid=")) for option in options):
        return False
    if layer.crs() != layer.dataProvider().crs() or path.with_suffix(".qpj").exists():
        return False
    return _is_alone(str(path))


def has_polygons_of_a_run(layer) -> bool:
    """Whether a layer is of anomalies in the very file that a run has written, whatever of them is shown."""
    if layer.providerType() != "ogr" or layer.isModified():
        return False
    path = Path(layer.source().split("|", 1)[0])
    name = re.search(r"\|layername=([^|]*)", layer.source())
    return (
        path.suffix.lower() in VECTOR_SUFFIXES
        and path.is_file()
        and (_is_alone(str(path)) or bool(name and name[1] == "anomalies"))
    )


def _is_alone(path: str) -> bool:
    """Whether a vector file has a single layer with geometries: GIS keep styles in tables beside it."""
    dataset = gdal.OpenEx(path, gdal.OF_VECTOR)
    layers = [] if dataset is None else [dataset.GetLayer(number) for number in range(dataset.GetLayerCount())]
    return sum(layer.GetGeomType() != _NO_GEOMETRY for layer in layers) == 1


def _exported(layer, request, feedback) -> str:
    """Write what QGIS shows of a layer to a temporary GeoPackage."""
    path = QgsProcessingUtils.generateTempFilename(f"{file_name(layer.name())}.gpkg")
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = "features"
    # A field 'fid' of the layer's own need not be unique.
    options.layerOptions = ["FID=hadgeo_fid"]
    writer = QgsVectorFileWriter.create(
        path, layer.fields(), layer.wkbType(), layer.crs(), QgsProject.instance().transformContext(), options
    )
    try:
        if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
            raise QgsProcessingException(f"the layer '{layer.name()}' cannot be exported: {writer.errorMessage()}")
        for number, feature in enumerate(layer.getFeatures(request)):
            if number % _ASK_EVERY == 0 and feedback.isCanceled():
                break
            if not writer.addFeature(QgsFeature(feature)):
                raise QgsProcessingException(f"the layer '{layer.name()}' cannot be exported: {writer.errorMessage()}")
    finally:
        # It writes the last features when it goes.
        del writer
    return path


def assigned_crs(path: str, layer) -> str:
    """A raster with the CRS that the user assigned to its layer: its own file where that is the file's."""
    if not has_assigned_crs(layer):
        return path
    out = QgsProcessingUtils.generateTempFilename(f"{file_name(layer.name())}.tif")
    made = gdal.Translate(
        out, path, format="GTiff", outputSRS=layer.crs().toWkt(), creationOptions=["COMPRESS=DEFLATE"]
    )
    if made is None:
        raise QgsProcessingException(f"the CRS of the layer '{layer.name()}' cannot be handed over: save it to a file")
    del made
    return out


def has_assigned_crs(layer) -> bool:
    """Whether a raster layer has a CRS that its file has not."""
    return layer is not None and layer.crs().isValid() and layer.crs() != layer.dataProvider().crs()


def is_drawn_upside_down(layer) -> bool:
    """Whether a raster has the transform that is none, in so many words, which other programs take for no place."""
    if not isinstance(layer, QgsRasterLayer) or layer.extent() != QgsRectangle(0, 0, layer.width(), layer.height()):
        return False
    dataset = gdal.Open(layer.source().split("|", 1)[0])
    return dataset is not None and tuple(dataset.GetGeoTransform()) == (0, 1, 0, 0, 0, 1)


def file_name(text: str) -> str:
    """A name for people as the name of a file, the same on all systems."""
    return re.sub(r'[\x00-\x1f<>:"/\\|?*%]+', "_", text).strip(" ._")[:80] or "layer"
