"""``hadgeo evaluate``: score maps against ground truth, and against what a person says of their anomalies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from hadgeo.cli import one_line, options, say
from hadgeo.cli.reporting import print_json
from hadgeo.cli.tables import show_table, with_interval
from hadgeo.errors import ParameterError

if TYPE_CHECKING:
    from rich.table import Table

    from hadgeo.decisions.precision import Precision
    from hadgeo.decisions.review import Review
    from hadgeo.evaluation.evaluate_maps import Evaluation

#: False-alarm rates of pixels whose objects the table shows; JSON has all.
_SHOWN = (1e-3, 1e-4)

#: How many of the strongest anomalies that were decided upon have a precision of their own.
_RANKS = (1, 5, 10, 20, 50)


@click.command("evaluate")
@click.argument("scores")
@click.argument("truths", nargs=-1, metavar="[TRUTH]...")
@click.option(
    "--verdicts",
    metavar="FILE",
    help="Polygons of the map with verdicts, or verdicts as CSV: how many of the reviewed anomalies are real finds.",
)
@click.option("--map", "others", multiple=True, metavar="SCORES", help="Another map, shown side by side; repeatable.")
@options.bootstrap
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.plot
@options.seed
@options.overwrite
@options.quiet
@options.debug
def command(
    scores: str,
    truths: tuple[str, ...],
    verdicts: str | None,
    others: tuple[str, ...],
    bootstrap: int,
    as_json: bool,
    plot: str | None,
    seed: int | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    r"""Show how well the map SCORES separates the targets of each TRUTH from the background.

    With --verdicts, with or without a TRUTH, show how precise it is: accepted among accepted and rejected anomalies, of
    all that were found at the threshold of the polygons, and of the strongest. Unsure ones are counted apart.

    TRUTH is a raster (0 is background, anything else a target, nodata unknown), a MATLAB file with a truth map, or
    polygons. A georeferenced truth is resampled to the grid of the map; any other must have the same shape. Several
    truths and maps are shown side by side, one column per pair.

    \b
    Examples:
      hadgeo evaluate scene_anomaly.tif scene_truth.tif
      hadgeo evaluate rx.tif vehicles.gpkg roofs.gpkg --map bs3lnet.tif --plot roc.png
      hadgeo evaluate published.mat scene.mat --bootstrap 0 --json
      hadgeo evaluate scene_anomaly.tif --verdicts anomalies_review.geojson
    """
    from hadgeo.evaluation.evaluate_maps import evaluate, labels
    from hadgeo.evaluation.roc_plot import check_plot, plot_roc

    review = _review(scores, truths, verdicts, others=bool(others or plot))
    inputs = (scores, *others, *truths)
    picture = None if plot is None else check_plot(plot, overwrite=overwrite, inputs=inputs)
    done = [
        evaluate(path, truth, resamples=bootstrap, seed=seed or 0)
        for truth in dict.fromkeys(truths)
        for path in dict.fromkeys((scores, *others))
    ]
    named = dict(zip(labels(done), done, strict=True))
    if picture is not None:
        plot_roc(named, picture)
    if as_json:
        told = {} if review is None else {"review": _facts(review)}
        print_json({"evaluations": [one.to_dict() for one in done], **told})
        return
    if review is not None:
        say("\n".join(_describe(review, verdicts or "")))
    if named:
        show_table(_table(named))
    if quiet:
        return
    for name, one in named.items():
        for note in one.notes():
            say(f"{name}: {note}")


def _review(scores: str, truths: tuple[str, ...], verdicts: str | None, *, others: bool) -> Review | None:
    """The review of a map's anomalies, if one is given.

    Raises:
        ParameterError: There is nothing to compare the map with, or options need a truth that is not there.
        ReviewError: It cannot be used, is of another map, or nothing was decided in it.
    """
    if not truths and verdicts is None:
        raise ParameterError("nothing to compare the map with; give a TRUTH, or --verdicts")
    if not truths and others:
        raise ParameterError("--map and --plot compare maps with a TRUTH; add one, or omit them")
    if verdicts is None:
        return None
    from hadgeo.decisions.review import Review
    from hadgeo.maps.reader import open_scores

    open_scores(scores)
    review = Review.read(verdicts).of_map(scores)
    review.check_decided()
    return review


def _first(review: Review) -> Mapping[int, Precision]:
    """The precision of the strongest anomalies that were decided upon, by how many they are."""
    decided = review.precision().decided
    return {count: review.precision(count) for count in _RANKS if count <= decided}


def _facts(review: Review) -> dict[str, Any]:
    return {
        **review.precision().facts(),
        "rejected": len(review.rejected),
        "unsure": len(review.unsure),
        "not_looked_at": len(review.unseen),
        "first": [{"first": count, **precision.facts()} for count, precision in _first(review).items()],
    }


def _describe(review: Review, name: str) -> list[str]:
    """What a review says of a map to people, one line of text for each thing."""
    return [
        f"{name}: {len(review.accepted)} accepted, {len(review.rejected)} rejected, {len(review.unsure)} unsure, "
        f"{len(review.unseen)} not looked at",
        f"precision: {review.precision()}",
        *(f"precision of the first {count} decided: {one}" for count, one in _first(review).items()),
    ]


def _table(named: Mapping[str, Evaluation]) -> Table:
    from rich.table import Table

    from hadgeo.metrics import METRICS

    table = Table()
    table.add_column("metric", no_wrap=True)
    table.add_column("formula")
    for name in named:
        table.add_column(one_line(name), justify="right", no_wrap=True)
    for metric in METRICS:
        cells = [with_interval(one, metric.key, metric.digits) for one in named.values()]
        table.add_row(metric.name, metric.formula, *cells)
    table.add_section()
    for rate in _SHOWN:
        at = f"at pixel P_F {rate:.0e}".replace("e-0", "e-")
        table.add_row(f"objects {at}", "found / all", *(_objects(one, rate) for one in named.values()))
        table.add_row(f"false alarms {at}", "groups touching no object", *(_alarms(o, rate) for o in named.values()))
    table.add_section()
    table.add_row("pixels", "targets + background", *(f"{o.targets:,} + {o.background:,}" for o in named.values()))
    return table


def _objects(one: Evaluation, rate: float) -> str:
    share = one.objects.detected[one.objects.rates.index(rate)]
    return f"{round(share * one.objects.objects)} / {one.objects.objects}"


def _alarms(one: Evaluation, rate: float) -> str:
    index = one.objects.rates.index(rate)
    per_km2 = one.false_alarms_per_km2()
    text = f"{one.objects.false_alarms[index]:,}"
    return text if per_km2 is None else f"{text} ({per_km2[index]:.3g} / km2)"
