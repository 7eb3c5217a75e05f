"""What parameters are given, as the backend takes it: whole paths, layers as QGIS shows them, words of a list."""

from __future__ import annotations

from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeatureSourceDefinition,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
    QgsProperty,
    QgsRasterLayer,
)

from .. import handover, polygon_style

#: Endings of what is written as GeoTIFF: another one would make other programs take it for another format.
_TIFF = (".tif", ".tiff")

_OF_RASTERS = (QgsProcessingParameterRasterLayer, QgsProcessingParameterMapLayer)
_OF_LAYERS = (*_OF_RASTERS, QgsProcessingParameterVectorLayer)

#: A raster that is there, in the place of files that QGIS cannot open, while it looks whether values are acceptable.
_READABLE = "/vsimem/hadgeo_readable.tif"


class GivenValues(QgsProcessingAlgorithm):
    """An algorithm that hands its parameters over to another process.

    Attributes:
        notes: What the user is to be warned of when the run begins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def checkParameterValues(self, parameters, context):
        """Understand what QGIS itself does not: words in any case, files it cannot open, selected features."""
        understood = dict(parameters)
        for definition in self.parameterDefinitions():
            name = definition.name()
            given = parameters.get(name)
            if isinstance(given, QgsProperty):
                continue
            if isinstance(definition, QgsProcessingParameterEnum) and given is not None:
                try:
                    chosen = words(definition, given)
                except ValueError as error:
                    return False, str(error)
                understood[name] = chosen if definition.allowMultiple() else next(iter(chosen), None)
            elif isinstance(definition, _OF_LAYERS) and given:
                understood[name] = _acceptable(definition, given, context)
            elif isinstance(definition, QgsProcessingParameterMultipleLayers) and given:
                understood[name] = [_acceptable(definition, one, context) for one in several(given)]
            elif isinstance(definition, QgsProcessingParameterRasterDestination):
                path = self.parameterAsOutputLayer(parameters, name, context)
                if path and Path(path).suffix.lower() not in _TIFF:
                    return False, (
                        f"{name}: {path} would be a GeoTIFF under the name of another format: give it the ending .tif"
                    )
        return super().checkParameterValues(understood, context)

    def parameterAsFile(self, parameters, name, context) -> str:
        """A file's absolute path."""
        return handover.absolute(super().parameterAsFile(parameters, name, context))

    def parameterAsFileOutput(self, parameters, name, context) -> str:
        """An output's absolute path."""
        return handover.absolute_output(super().parameterAsFileOutput(parameters, name, context))

    def parameterAsOutputLayer(self, parameters, name, context) -> str:
        """An output's absolute path, by which QGIS also loads it where it is to be loaded."""
        given = super().parameterAsOutputLayer(parameters, name, context)
        return load_instead(context, given, handover.absolute_output(given))

    def parameterAsEnumString(self, parameters, name, context) -> str:
        """The word that was chosen, in any case or by its number."""
        chosen = self.parameterAsEnumStrings(parameters, name, context)
        return chosen[0] if chosen else ""

    def parameterAsEnumStrings(self, parameters, name, context) -> list:
        """The words that were chosen."""
        definition = self.parameterDefinition(name)
        given = parameters.get(definition.name(), definition.defaultValue())
        if isinstance(given, QgsProperty):
            given = given.valueAsString(context.expressionContext())[0]
        return [] if given is None else words(definition, given)

    def value(self, parameters, name: str, context):
        """A parameter's value as JSON has it; None where it is left empty."""
        definition = self.parameterDefinition(name)
        given = parameters.get(name, definition.defaultValue())
        if given is None or given == "":
            return None
        kind = definition.type()
        if kind == "enum":
            return self.parameterAsEnumString(parameters, name, context)
        if kind == "boolean":
            return self.parameterAsBoolean(parameters, name, context)
        if kind == "number":
            if definition.dataType() == definition.Type.Integer:
                return self.parameterAsInt(parameters, name, context)
            return self.parameterAsDouble(parameters, name, context)
        if kind == "file":
            return self.parameterAsFile(parameters, name, context) or None
        return self.parameterAsString(parameters, name, context).strip() or None

    def options(self, names: tuple, parameters, context) -> dict:
        """Values of parameters that were made from arguments of a command."""
        return {name: self.value(parameters, name.upper(), context) for name in names}

    def raster(self, parameters, name: str, context):
        """A raster as a path for the backend; None where it is left empty."""
        given = parameters.get(name)
        layer = self.parameterAsRasterLayer(parameters, name, context)
        self._look_at(layer)
        return handover.raster(layer, given, context) if layer is not None or given else None

    def rasters(self, parameters, name: str, context) -> list:
        """Rasters as paths for the backend, in their order; each is one that is there."""
        paths = []
        for one in several(parameters.get(name)):
            layer = handover.layer_of(one, context, raster=True)
            self._look_at(layer)
            paths.append(handover.raster(layer, one, context))
        return paths

    def _look_at(self, layer) -> None:
        """Note where a scene or a score map is not what QGIS shows; the backend reads the file."""
        if handover.has_assigned_crs(layer):
            self.notes.append(
                f"the layer '{layer.name()}' was assigned the CRS {layer.crs().authid() or layer.crs().description()}, "
                "but results have that of its file: write the CRS into the file (Assign projection), or assign it to "
                "them, too"
            )
        if layer is not None and handover.is_drawn_upside_down(layer):
            self.notes.append(
                f"QGIS draws the layer '{layer.name()}' upside down, since the rows of its file go up from 0, and "
                "results the right way up, below 0: write the scene to a file without such a transform to see both in "
                "one place"
            )

    def overlay(self, parameters, name: str, context, feedback):
        """A truth, a mask or polygons as a path for the backend; None where it is left empty."""
        given = parameters.get(name)
        if not given and given != 0:
            return None
        selected = self.parameterDefinition("SELECTED") is not None and self.parameterAsBoolean(
            parameters, "SELECTED", context
        )
        return handover.overlay(given, context, feedback, selected=selected)

    def anomalies(self, parameters, name: str, context, feedback):
        """Polygons of an earlier run as a path: their own file, where it has one, as their spectra lie beside it."""
        layer = handover.layer_of(parameters.get(name), context)
        if layer is not None and handover.has_polygons_of_a_run(layer):
            return handover.absolute(layer.source())
        return self.overlay(parameters, name, context, feedback)

    def rejected(self, parameters, context, feedback) -> dict:
        """What the parameters of `rejected_parameters` say, as arguments of a command.

        Raises:
            QgsProcessingException: Verdicts of the layer are not saved, so that its file does not have them.
        """
        layer = handover.layer_of(parameters.get("SUPPRESS_LIKE"), context)
        if layer is not None and layer.isModified():
            raise QgsProcessingException(
                f"the layer '{layer.name()}' has verdicts or other edits that are not saved: save them first"
            )
        if layer is not None and layer.subsetString():
            # Verdicts count by file, and a filter would not.
            raise QgsProcessingException(f"the layer '{layer.name()}' has a filter: remove it, or save it as a new one")
        selected = self.parameterAsBoolean(parameters, "SELECTED", context)
        if layer is not None and selected and layer.selectedFeatureCount():
            raise QgsProcessingException(
                f"verdicts of the layer '{layer.name()}' count whether selected or not: remove its selection, or save "
                "what is selected as a layer of its own"
            )
        like = self.anomalies(parameters, "SUPPRESS_LIKE", context, feedback)
        return {"suppress_like": like, **(self.options(("suppress_angle",), parameters, context) if like else {})}

    def learning(self, parameters, context, feedback, more: tuple = ()) -> dict:
        """What the parameters of `learning_parameters` say, as arguments of a command."""
        regions = {
            name: self.overlay(parameters, name.upper(), context, feedback) for name in ("background", "exclude")
        }
        return {**regions, **self.options(("suppress", *more), parameters, context)}

    def spectra(self, parameters, context, polygons) -> dict:
        """The pictures of spectra, if they are asked for, as arguments of a command: where map tips look for them."""
        if not polygons or not self.parameterAsBoolean(parameters, "SPECTRA", context):
            return {}
        limit = self.value(parameters, "SPECTRA_LIMIT", context)
        return {"spectra": str(polygon_style.spectra_folder(polygons)), "spectra_limit": limit}


def load_instead(context, given: str, source: str) -> str:
    """Have QGIS load a layer under another name than it was asked to, if it is to load it at all; returns that name."""
    if source != given and context.willLoadLayerOnCompletion(given):
        layers = context.layersToLoadOnCompletion()
        layers[source] = layers.pop(given)
        context.setLayersToLoadOnCompletion(layers)
    return source


def words(definition, given) -> list:
    """The words of an enumeration that a value means: themselves, in any case, or their numbers.

    Args:
        definition: The parameter.
        given: One word or number, several with commas between them, or a list.

    Raises:
        ValueError: It means none; the message lists all.
    """
    options = definition.options()
    texts = (
        given if isinstance(given, (list, tuple)) else str(given).split(",") if definition.allowMultiple() else [given]
    )
    found = []
    for text in (str(one).strip() for one in texts):
        alike = [option for option in options if option.lower() == text.lower()]
        if text in options:
            found.append(text)
        elif len(alike) == 1:
            found += alike
        elif text.isdecimal() and int(text) < len(options):
            found.append(options[int(text)])
        elif text:
            raise ValueError(f"{definition.name()}: '{text}' is none of {', '.join(options)}")
    if not found and not definition.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional:
        raise ValueError(
            f"{definition.name()}: choose {'some' if definition.allowMultiple() else 'one'} of {', '.join(options)}"
        )
    return found if definition.allowMultiple() or not found else found[:1]


def several(given) -> list:
    """What a parameter of several layers was given, one by one."""
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        return list(given)
    if isinstance(given, str) and ";" in given and not Path(given).exists():
        return [part.strip() for part in given.split(";") if part.strip()]
    return [given]


def _acceptable(definition, given, context):
    """A layer's value as QGIS accepts it, where the backend can do something with it."""
    rasters = isinstance(definition, (QgsProcessingParameterRasterLayer, QgsProcessingParameterMultipleLayers))
    layer = handover.layer_of(given, context, raster=rasters)
    if isinstance(given, QgsProcessingFeatureSourceDefinition) and layer is not None:
        return layer
    path = Path(handover.text_of(given, context))
    if layer is None and path.exists() and not isinstance(definition, QgsProcessingParameterVectorLayer):
        return _readable()
    return given


def _readable() -> QgsRasterLayer:
    if gdal.VSIStatL(_READABLE) is None:
        gdal.GetDriverByName("GTiff").Create(_READABLE, 1, 1).FlushCache()
    return QgsRasterLayer(_READABLE, "readable")
