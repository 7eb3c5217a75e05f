"""What the backend says at a terminal, in the words of dialogs: parameters and algorithms, not options and commands."""

from __future__ import annotations

import re

#: What dialogs call the arguments of commands, where it is not their own name.
TITLES = {
    "band_axis": "Band axis of the array",
    "background": "Learn from",
    "bootstrap": "Bootstrap resamples",
    "calibrate_on": "Count rates in",
    "connectivity": "Connectivity",
    "exclude": "Do not learn from",
    "fill": "Fill value",
    "fit_on": "Fit on",
    "glt": "Lookup table (GLT)",
    "grow_pfa": "False-alarm rate to grow to",
    "igm": "Coordinates of pixels (IGM)",
    "join_distance": "Join anomalies of lines within",
    "like": "Anomalies",
    "merge_distance": "Merge distance",
    "min_pixels": "Smallest anomaly",
    "model": "Trained detector",
    "north_up": "Turn north-up",
    "p_values": "Map of p-values",
    "percentile": "Percentile",
    "pfa": "False-alarm rate",
    "place": "Position of ENVI files",
    "plot": "ROC curves",
    "polygons": "Anomalies",
    "polygons_crs": "CRS of the anomalies",
    "quality": "Leave out by quality",
    "report": "Page of the review",
    "report_limit": "Show in the page at most",
    "resample_bands": "Interpolate bands",
    "sensor_geometry": "Leave in the sensor's geometry",
    "spectra": "Draw spectra for map tips",
    "spectra_limit": "Spectra of at most so many anomalies",
    "suppress": "Suppress surfaces",
    "suppress_angle": "Largest angle to a rejected anomaly",
    "suppress_from": "Leave suppressed surfaces out of",
    "suppress_like": "Suppress what was rejected",
    "suppressed_mask": "Suppressed surfaces",
    "target_scale": "Scale of the spectrum",
    "top": "Number of pixels",
    "value": "Score",
    "variable": "Array of the file",
    "window": "Window size in pixels",
}

#: Options of one letter.
_SHORT = {"o": "output", "d": "detector", "p": "parameter"}

#: What commands are in the toolbox.
_COMMANDS = {
    "batch": "Detect on a mission",
    "compare": "Compare detectors",
    "detect": "Detect anomalies",
    "detectors": "Backend information",
    "evaluate": "Evaluate against truth",
    "match": "Find more like this",
    "quicklook": "Quicklook",
    "simulate": "Simulate a scene",
    "threshold": "Threshold and polygons",
    "train": "Train a detector",
    "versions": "Backend information",
}

_OPTION = re.compile(r"(?<![\w/\\.-])(?:--([a-z][a-z-]*[a-z])|-([odp]))(?![\w-]|\.\w)")
_COMMAND = re.compile(r"`hadgeo ([a-z]+)[^`]*`")
_INSTALL = re.compile(r"`?pip install [^`;]*`?(?= *;|$|`|\))")


def title_of(argument: str) -> str:
    """What dialogs call an argument of a command."""
    return TITLES.get(argument) or argument.replace("_", " ").capitalize()


def for_dialogs(text: str, titles: dict | None = None) -> str:
    """A help text or a message of the backend, in the words of dialogs.

    Args:
        text: What it says.
        titles: What the dialog at hand calls arguments, where that is not `title_of`.
    """

    def option(found) -> str:
        name = (found[1] or _SHORT[found[2]]).replace("-", "_")
        return f"'{(titles or {}).get(name) or title_of(name)}'"

    def command(found) -> str:
        name = _COMMANDS.get(found[1])
        return found[0].strip("`") if name is None else f"'{name}'"

    return _OPTION.sub(option, _INSTALL.sub("'Set up the backend'", _COMMAND.sub(command, text)))
