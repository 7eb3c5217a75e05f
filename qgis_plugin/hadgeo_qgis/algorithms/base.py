"""What hadgeo's algorithms have in common: a job for the backend, its progress, and its outputs."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsMessageLog,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterVectorLayer,
    QgsProject,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtGui import QIcon

from .. import backend, handover, settings, styles
from ..defaults import SCENE, meant_for
from ..parameters import (
    DETECTOR,
    detector_choice,
    detector_default,
    detector_parameter_name,
    detector_parameters,
    of_argument,
    with_help,
)
from ..schema import DETECTORS, SCHEMA, argument
from ..wording import for_dialogs, title_of
from .values import GivenValues

ICONS = Path(__file__).parents[1] / "icons"

#: Arguments that say how a scene is read.
READING = ("variable", "band_axis", "place", "fill", "quality")


class Feedback(backend.Listener):
    """Shows a run of the backend in a Processing dialog.

    Args:
        feedback: Processing's own.
        stages: Where each stage begins and ends, in percent of the whole.
        titles: What the dialog calls the backend's arguments.
    """

    def __init__(self, feedback, stages: dict[str, tuple[float, float]], titles: dict | None = None) -> None:
        self._feedback = feedback
        self._stages = stages
        self._titles = titles or {}
        self._stage = ""
        self._percent, self._step, self._since = 0.0, 0.0, 0.0

    def progress(self, stage: str, percent: float, seconds: float) -> None:
        """Move the bar, never back, and say when a stage begins: each text becomes a line of the dialog's log."""
        if stage != self._stage:
            self._stage = stage
            self._percent, self._step, self._since = 0.0, 5.0, 0.0
            self._feedback.setProgressText(f"{self._text(stage)} …")
        begin, end = self._stages.get(stage, (0, 0))
        self._show(begin + (end - begin) * self._estimate(percent, seconds) / 100)

    def _text(self, stage: str) -> str:
        """What a stage is called in the log."""
        return stage

    def _show(self, whole: float) -> None:
        """Move the bar to so many percent of one run."""
        self._feedback.setProgress(max(self._feedback.progress(), whole))

    def _estimate(self, percent: float, seconds: float) -> float:
        """Between two windows nothing is known: go on at the pace so far, by less than the last step was wide."""
        if percent > self._percent:
            self._step, self._percent, self._since = percent - self._percent, percent, seconds
        pace = percent / self._since if self._since > 0 else 1.0
        return min(100.0, percent + min(pace * (seconds - self._since), 0.9 * self._step))

    def log(self, message: str, warning: bool = False) -> None:
        """Show a line of the backend's log."""
        message = for_dialogs(message, self._titles)
        if warning:
            self._feedback.pushWarning(message)
        else:
            self._feedback.pushInfo(message)

    def console(self, text: str) -> None:
        """Show what a library in the backend printed."""
        self._feedback.pushConsoleInfo(text)

    def cancelled(self) -> bool:
        """Whether the user pressed Cancel."""
        return self._feedback.isCanceled()


class HadgeoAlgorithm(GivenValues):
    """An algorithm that runs one command of the backend.

    Subclasses set the class attributes and write `initAlgorithm` and `processAlgorithm`.

    Attributes:
        ID: The algorithm's id without the provider.
        TITLE: What the toolbox shows.
        SUMMARY: What it is for, in a sentence or two.
        GROUP: The toolbox's group.
        TAGS: Words that find it.
        ICON: Name of the icon's file.
        STAGES: Where each stage of the backend begins and ends in the progress bar.
        CALLED: Parameters that have another name than the backend's argument, by that argument.
    """

    ID = ""
    TITLE = ""
    SUMMARY = ""
    GROUP = "Detection"
    TAGS: tuple[str, ...] = ()
    ICON = "hadgeo.svg"
    STAGES: dict[str, tuple[float, float]] = {}
    CALLED = {"scenes": "input", "scene": "input"}

    def name(self) -> str:
        """The id, for scripts and models."""
        return self.ID

    def displayName(self) -> str:
        """The title, for people."""
        return self.TITLE

    def group(self) -> str:
        """The toolbox's group."""
        return self.GROUP

    def groupId(self) -> str:
        """The group's id."""
        return self.GROUP.lower().replace(" ", "")

    def tags(self) -> list:
        """Words that find it."""
        return ["hyperspectral", "anomaly", "detection", *self.TAGS]

    def icon(self) -> QIcon:
        """The icon."""
        return QIcon(str(ICONS / self.ICON))

    def svgIconPath(self) -> str:
        """The icon's file."""
        return str(ICONS / self.ICON)

    def shortDescription(self) -> str:
        """The tool tip in the toolbox."""
        return self.SUMMARY

    def shortHelpString(self) -> str:
        """The summary, and the help of every parameter and output, in the panel beside the dialog."""
        entries = [(p.description(), p.help()) for p in self.parameterDefinitions()]
        listed = "".join(f"<h3>{_escape(title)}</h3><p>{_escape(text)}</p>" for title, text in entries)
        return f"<p>{_escape(self.SUMMARY)}</p>{listed}"

    def createCustomParametersWidget(self, parent=None):
        """The dialog."""
        # Only where there is a window: qgis_process has no Processing dialogs.
        from ..dialog import HadgeoDialog

        return HadgeoDialog(self.create(), parent=parent)

    def createInstance(self):
        """A new one."""
        return type(self)()

    def canExecute(self):
        """Whether there is a backend; the dialog shows why not."""
        problem = settings.problem()
        return (False, problem) if problem else (True, "")

    def checkParameterValues(self, parameters, context):
        """Refuse an output that the project has open: it would be replaced under a layer's feet."""
        for definition in self.destinationParameterDefinitions():
            path = self.parameterAsFileOutput(parameters, definition.name(), context)
            layer = open_layer(path)
            if layer is not None:
                return False, (
                    f"{path} is open in this project as the layer '{layer.name()}': remove the layer, or choose "
                    "another name"
                )
        return super().checkParameterValues(parameters, context)

    def run_backend(self, command: str, arguments: dict, feedback, listener=None) -> list:
        """Run one command of the backend.

        Args:
            command: Its name.
            arguments: Its arguments by name; device, memory and overwrite are added where the command has them.
            feedback: Processing's own.
            listener: What hears of the run, where that is not a `Feedback`.

        Returns:
            The results; an empty list where the user cancelled.

        Raises:
            QgsProcessingException: There is no backend, or it refused or failed; one line for the log.
        """
        # qgis_process never asks `canExecute`.
        problem = settings.problem()
        if problem:
            raise QgsProcessingException(problem)
        chosen = {"device": settings.device(), "memory": settings.memory(), "overwrite": True}
        known = SCHEMA["commands"][command]["arguments"]
        arguments = {**{k: v for k, v in chosen.items() if k in known}, **arguments}
        for note in self.notes:
            feedback.pushWarning(note)
        self.notes.clear()
        try:
            listener = listener or Feedback(feedback, self.STAGES, self.titles())
            results = backend.run(settings.interpreter(), command, arguments, listener)
            feedback.setProgress(100)
            return results
        except backend.BackendStopped:
            feedback.pushInfo("Stopped; no unfinished files were left behind.")
            return []
        except backend.BackendError as error:
            told = for_dialogs(str(error), self.titles())
            QgsMessageLog.logMessage(told, "hadgeo", Qgis.MessageLevel.Critical)
            raise QgsProcessingException(told) from None

    def titles(self) -> dict:
        """What this dialog calls the backend's arguments."""
        found = {one.name().lower(): one.description() for one in self.parameterDefinitions()}
        return {**found, **{argument: found[name] for argument, name in self.CALLED.items() if name in found}}

    def scene(self, parameters, name: str, context) -> dict:
        """How the scene of a parameter is to be read, as arguments of a command."""
        given = self.raster(parameters, name, context)
        return {"scene": given, **self.options(READING, parameters, context)}

    def extent(self, parameters, context):
        """The parameter EXTENT as xmin, ymin, xmax, ymax in the scene's CRS; None where it is left empty."""
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        box = self.parameterAsExtent(
            parameters, "EXTENT", context, QgsCoordinateReferenceSystem() if layer is None else layer.crs()
        )
        if box.isEmpty():
            if _is_given(parameters.get("EXTENT"), context):
                # Such as of a layer without features: nothing is meant, and not all of the scene.
                raise QgsProcessingException("the extent is empty: choose another, or leave it out for the whole scene")
            return None
        if layer is not None and layer.extent() == QgsRectangle(0, -layer.height(), layer.width(), 0):
            # Without a place, rows go down from 0; above it lies nothing.
            box = box.intersect(layer.extent())
            if box.isEmpty():
                raise QgsProcessingException(f"the extent lies outside the scene '{layer.name()}'")
        return [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]

    def name_layer(self, context, output: str, what: str, of: str, more: str = "") -> None:
        """Give an output that is loaded after the run its style, and a name unless the user has given it one.

        Args:
            context: Processing's.
            output: The output.
            what: What it is; that comes first.
            of: What it was made of.
            more: What tells it from a layer of the same name that the project has already.
        """
        if not context.willLoadLayerOnCompletion(output):
            return
        details = context.layerToLoadOnCompletionDetails(output)
        own = details.name if details.name != self._title_of_output(details.outputName) else ""
        name = own or f"{what} – {of}"
        if not own and more and QgsProject.instance().mapLayersByName(name):
            name = f"{name} ({more})"
        details.name = name
        details.setPostProcessor(styles.Named(name))

    def _title_of_output(self, name: str) -> str:
        definition = self.parameterDefinition(name)
        return "" if definition is None else definition.description()

    def shown_name(self, parameters, name: str, context) -> str:
        """What the user calls a raster: its layer's name, or that of its file."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is not None and layer.name() and layer.name() != Path(layer.source()).name:
            return layer.name()
        return Path(handover.text_of(parameters.get(name), context)).stem


class RenewsDetectors:
    """Mixed into algorithms after which the backend may have other detectors."""

    def postProcessAlgorithm(self, context, feedback) -> dict:
        """Look for them, once all that still holds an algorithm of the old list is done with it."""
        provider = self.provider()
        if provider is not None:
            QTimer.singleShot(0, provider.look_for_detectors)
        return super().postProcessAlgorithm(context, feedback)


class DetectorChoice:
    """Mixed into algorithms that let the user choose a detector."""

    def tags(self) -> list:
        """Words that find it, names of detectors among them."""
        return [*super().tags(), *DETECTORS]

    def add_detector_parameters(self) -> None:
        """Add the choice, and the parameters of every detector."""
        self.addParameter(detector_choice())
        for parameter in detector_parameters():
            self.addParameter(parameter)

    def detector_arguments(self, parameters, context) -> dict:
        """The chosen detector and its parameters, as arguments of a command."""
        detector = self.parameterAsEnumString(parameters, DETECTOR, context)
        values = {}
        for key in DETECTORS[detector]["parameters"]:
            values[key] = self.value(parameters, detector_parameter_name(detector, key), context)
        if values.get("preset"):
            # A dialog has a value for each, and what is given beside a preset comes first.
            values = {key: value for key, value in values.items() if value != detector_default(detector, key)}
        return {"detector": detector, "parameter": values}


def scene_parameter(name: str = "INPUT", title: str = "Scene") -> QgsProcessingParameterRasterLayer:
    """The parameter for a hyperspectral cube."""
    text = (
        "A hyperspectral cube: any file that GDAL can read, such as GeoTIFF or ENVI (the data file, not the .hdr), and "
        "any other that the backend reads, such as MATLAB or HDF5, chosen as a file."
    )
    return meant_for(with_help(QgsProcessingParameterRasterLayer(name, title), text), SCENE)


def reading_parameters(command: str) -> list:
    """The parameters for what a file does not say of itself: its cube, its place, its nodata.

    Args:
        command: The command that takes them.
    """
    return [of_argument(command, name, advanced=True) for name in READING]


def selected_parameter() -> QgsProcessingParameterBoolean:
    """The parameter that leaves out what is not selected."""
    made = QgsProcessingParameterBoolean("SELECTED", "Selected features only", False)
    text = "Of layers of polygons in which features are selected, use these features alone."
    return with_help(made, text, advanced=True)


def mask_parameter() -> QgsProcessingParameterMapLayer:
    """The parameter for what to keep of a scene."""
    kinds = [QgsProcessing.SourceType.TypeRaster, QgsProcessing.SourceType.TypeVectorPolygon]
    made = QgsProcessingParameterMapLayer("MASK", "Mask", optional=True, types=kinds)
    return with_help(made, argument("detect", "mask")["help"])


def learning_parameters(command: str) -> list:
    """The parameters for what a detector learns from.

    Args:
        command: The command that takes them.
    """
    kinds = [QgsProcessing.SourceType.TypeRaster, QgsProcessing.SourceType.TypeVectorPolygon]
    made = []
    for name in ("background", "exclude"):
        layer = QgsProcessingParameterMapLayer(name.upper(), title_of(name), optional=True, types=kinds)
        made.append(with_help(layer, argument(command, name)["help"], advanced=True))
    made.append(of_argument(command, "suppress", advanced=True))
    if "suppress_from" in SCHEMA["commands"][command]["arguments"]:
        made.append(of_argument(command, "suppress_from", advanced=True))
    return made


def rejected_parameters() -> list:
    """The parameters for maps without what a person has rejected before."""
    kinds = [QgsProcessing.SourceType.TypeVectorPolygon]
    like = QgsProcessingParameterVectorLayer("SUPPRESS_LIKE", title_of("suppress_like"), types=kinds, optional=True)
    return [
        with_help(like, argument("detect", "suppress_like")["help"], advanced=True),
        of_argument("detect", "suppress_angle", advanced=True),
    ]


def report_parameters() -> list:
    """The parameters for the page of a review."""
    page = QgsProcessingParameterFileDestination(
        "REPORT", title_of("report"), "HTML files (*.html)", optional=True, createByDefault=False
    )
    return [
        with_help(page, argument("detect", "report")["help"]),
        of_argument("detect", "report_limit", advanced=True),
    ]


def open_layer(path: str):
    """The layer of the project that shows a file, or None."""
    file = Path(path)
    if not path or not file.exists():
        return None
    for layer in QgsProject.instance().mapLayers().values():
        source = Path(layer.source().split("|", 1)[0])
        if source.exists() and source.samefile(file):
            return layer
    return None


def _is_given(extent, context) -> bool:
    """Whether an extent was given at all, be it an empty one."""
    if isinstance(extent, QgsRectangle):
        return True
    return bool(handover.text_of(extent, context).strip())


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
