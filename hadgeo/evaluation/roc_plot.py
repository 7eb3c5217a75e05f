"""ROC curves as a picture: pixels over a logarithmic false-alarm rate, and objects over false alarms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hadgeo.errors import MissingExtraError, OutputError
from hadgeo.evaluation.evaluate_maps import Evaluation
from hadgeo.files import check_no_input, check_output
from hadgeo.pictures.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a plot can be.
FORMATS = (".png", ".svg", ".pdf")

#: Curves that lie upon each other stay apart.
_STYLES = ("-", "--", "-.", ":")


def check_plot(path: str | os.PathLike[str], *, overwrite: bool, inputs: Iterable[str | os.PathLike[str]] = ()) -> Path:
    """Refuse early what could not be drawn late.

    Args:
        path: The picture.
        overwrite: Whether a file there may be replaced.
        inputs: Files that are not replaced in any case.

    Raises:
        OutputError: It has no format that can be drawn, is one of the inputs, or cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    out = Path(path)
    if out.suffix.lower() not in FORMATS:
        raise OutputError(f"{out}: the name of a plot must end in {', '.join(FORMATS)}; give another name with --plot")
    check_no_input(out, map(Path, inputs), told="an input of this run", option="--plot")
    check_output(out, overwrite=overwrite, option="--plot")
    try:
        import matplotlib  # noqa: F401 - only to know whether it is there
    except ImportError as error:
        raise MissingExtraError('--plot needs matplotlib; install it with pip install "hadgeo[report]"') from error
    return out


def plot_roc(evaluations: Mapping[str, Evaluation], out: Path) -> Path:
    """Draw P_D over P_F, and detected objects over false alarms, one curve an evaluation.

    Args:
        evaluations: What to draw, by the name that the legend shows.
        out: A path that `check_plot` has seen. It is replaced when the picture is whole.

    Raises:
        OutputError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    pixels, objects = figure.subplots(1, 2)
    per_area = all(evaluation.area_km2 for evaluation in evaluations.values())
    for number, (name, evaluation) in enumerate(evaluations.items()):
        style: dict[str, Any] = {"color": f"C{number % 10}", "linestyle": _STYLES[number % len(_STYLES)]}
        pixels.plot(*evaluation.roc, label=f"{name}  (AUC {evaluation.values['auc_d_f']:.5f})", **style)
        alarms = evaluation.false_alarms_per_km2() if per_area else None
        counts = alarms or evaluation.objects.false_alarms
        objects.plot(counts, evaluation.objects.detected, marker=".", drawstyle="steps-post", label=name, **style)
    _dress_pixels(pixels, max(evaluation.background for evaluation in evaluations.values()))
    _dress_objects(objects, "false alarms per km²" if per_area else "false alarms")
    # Below both, where it hides no curve.
    figure.legend(*pixels.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    save_figure(figure, out, out.suffix[1:].lower(), option="--plot", dpi=150)
    return out


def _dress_pixels(axes: Axes, background: int) -> None:
    """Label the axes of the ROC curve; a curve that begins at P_F = 0 comes in from the left."""
    lowest = 0.5 / background
    chance = np.geomspace(lowest, 1, 200)
    axes.plot(chance, chance, color="0.7", linewidth=1, label="chance")
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(-0.02, 1.02), title="Pixels")
    axes.set(xlabel="false-alarm rate P_F", ylabel="detection rate P_D")
    axes.grid(color="0.9")


def _dress_objects(axes: Axes, label: str) -> None:
    """Label the axes of the objects' curve, linear next to zero, where a logarithm would not show it."""
    seen = np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in axes.lines])
    positive = seen[seen > 0]
    axes.set_xscale("symlog", linthresh=float(positive.min()) if positive.size else 1.0)
    axes.set(xlim=(0, None), ylim=(-0.02, 1.02), title="Objects", xlabel=label, ylabel="fraction of objects detected")
    axes.grid(color="0.9")
