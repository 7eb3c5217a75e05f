"""What ``hadgeo threshold`` and ``hadgeo detect`` share: which pixels are flagged, and what is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hadgeo.errors import OutputError, ParameterError

if TYPE_CHECKING:
    from hadgeo.decisions.calibration import Rule
    from hadgeo.decisions.decision import Decision, Explain, Grouping, Outputs
    from hadgeo.formats.glt import Glt
    from hadgeo.formats.source import Source
    from hadgeo.mission.anomalies import MissionAnomalies
    from hadgeo.progress import Progress
    from hadgeo.run.manifest import Manifest

#: One pixel of a thousand: few enough to look at in a scene of a million, and counted rather than extrapolated there.
DEFAULT_PFA = 1e-3

#: Anomalies that can have pictures in a page: more would make it too large to open.
MOST_CHARTED = 2000

#: The options of `decision`, as a command receives them.
NAMES = (
    *("pfa", "percentile", "value", "top"),
    *("polygons", "p_values", "evidence", "spectra"),
    *("connectivity", "min_pixels", "merge_distance", "grow_pfa"),
    *("report", "report_limit"),
    "spectra_limit",
)
RULES, _OUTPUT_NAMES = NAMES[:4], NAMES[4:8]

#: The options of `mission_decision`, likewise.
MISSION_NAMES = (*RULES, "polygons", *NAMES[8:-1], "calibrate_on", "polygons_crs", "join_distance")

_RULES = (
    click.option(
        "--pfa", type=float, metavar="RATE", help="False-alarm rate: the fraction of the background that is flagged."
    ),
    click.option("--percentile", type=float, metavar="Q", help="Percentile of the scores, such as 99.9."),
    click.option("--value", type=float, metavar="SCORE", help="A score, on the scale of the detector."),
    click.option("--top", type=int, metavar="N", help="The N pixels with the highest scores."),
)
_POLYGONS = click.option(
    "--polygons", metavar="FILE", help="Write the anomalies as polygons: .gpkg, .geojson or .parquet."
)
_OUTPUTS = (
    _POLYGONS,
    click.option("--p-values", metavar="FILE", help="Write the p-value of each pixel as a GeoTIFF."),
    click.option(
        "--evidence",
        metavar="FILE",
        help="Write the spectrum of each anomaly, the expected background and their difference as NetCDF.",
    ),
    click.option("--spectra", metavar="DIR", help="Plot the spectra of the rarest anomalies into this folder."),
    click.option(
        "--spectra-limit",
        type=click.IntRange(min=1),
        default=100,
        show_default=True,
        metavar="N",
        help="Plot the spectra of the N rarest anomalies in --spectra; each takes a good part of a second.",
    ),
)
_GROUPING = (
    click.option(
        "--connectivity",
        type=click.Choice(["4", "8"]),
        default="8",
        show_default=True,
        help="Whether the pixels of an anomaly must share an edge (4) or may touch at a corner (8).",
    ),
    click.option("--min-pixels", type=int, default=1, show_default=True, help="Drop anomalies with fewer pixels."),
    click.option(
        "--merge-distance",
        type=float,
        default=0.0,
        show_default=True,
        metavar="METRES",
        help="Join polygons that are at most this far apart.",
    ),
    click.option(
        "--grow-pfa",
        type=float,
        default=0.01,
        show_default=True,
        metavar="RATE",
        help="Grow anomalies through neighbouring pixels up to this false-alarm rate; 0 for flagged pixels alone.",
    ),
    click.option(
        "--report",
        metavar="FILE",
        help="Write a page to review the anomalies in a browser: one .html file with map, pictures and spectra.",
    ),
    click.option(
        "--report-limit",
        type=click.IntRange(1, MOST_CHARTED),
        default=500,
        show_default=True,
        metavar="N",
        help="Show pictures and spectra of the N rarest anomalies in --report; the others are listed.",
    ),
)


_MISSION = (
    click.option(
        "--calibrate-on",
        type=click.Choice(["line", "mission"]),
        default="line",
        show_default=True,
        help="Count rates and p-values in each flight line by itself, or in the scores of all flight lines together.",
    ),
    click.option(
        "--polygons-crs",
        metavar="CRS",
        help="Coordinate reference system of the polygons, by default that of the first flight line.",
    ),
    click.option(
        "--join-distance",
        type=float,
        metavar="METRES",
        help="Anomalies of different flight lines at most this far apart are one object; 1.5 pixels by default.",
    ),
)


def decision(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a decision."""
    return _with(command, _RULES + _OUTPUTS + _GROUPING)


def mission_decision(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a decision on many maps together."""
    return _with(command, (*_RULES, _POLYGONS, *_GROUPING, *_MISSION))


def _with(command: Callable[..., Any], given: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    for option in reversed(given):
        command = option(command)
    return command


@dataclass(frozen=True)
class Request:
    """A decision that was asked for.

    Attributes:
        rule: Which pixels stand out.
        grouping: How they become anomalies.
        outputs: What to write.
        overwrite: Whether outputs may be replaced.
        report: The page to write, or None.
        report_limit: How many anomalies get pictures in it.
        spectra_limit: Spectra of how many anomalies are plotted.
    """

    rule: Rule
    grouping: Grouping
    outputs: Outputs
    overwrite: bool
    report: Path | None
    report_limit: int
    spectra_limit: int

    @property
    def wanted(self) -> dict[str, Path]:
        """Every file and folder that is, by the name of its option."""
        return self.outputs.wanted | ({} if self.report is None else {"report": self.report})

    @property
    def compares(self) -> list[str]:
        """The options among them that compare anomalies with the background of the scene."""
        return [f"--{name}" for name in ("evidence", "spectra", "report") if name in self.wanted]

    def check(self, inputs: list[Path]) -> None:
        """Refuse early what could not be written late; see `hadgeo.decisions.decision.check_outputs`."""
        from hadgeo.decisions.decision import check_outputs
        from hadgeo.decisions.report import check_report

        page = self.report is not None
        check_outputs(self.outputs, self.grouping, inputs, explained=True, find=page, overwrite=self.overwrite)
        if self.report is not None:
            check_report(self.report, [*inputs, *self.outputs.wanted.values()], overwrite=self.overwrite)

    def announce(self, progress: Progress, *, explained: bool = True) -> None:
        """Say before the work how long plots of spectra take, which no trial on the scene knows."""
        if self.outputs.spectra is not None and explained:
            from hadgeo.evidence.spectrum_plots import expected_seconds

            seconds = expected_seconds(self.spectra_limit)
            progress.message(
                f"expected: at most {self.spectra_limit:,} plots of spectra, {seconds:.0f} s for all of them"
            )

    def decide(
        self, scores: str | Path, progress: Progress, explain: Explain | None, measured: Path | None = None
    ) -> Decision:
        """Decide; see `hadgeo.decisions.decision.decide`."""
        from hadgeo.decisions.decision import decide

        return decide(
            scores,
            self.rule,
            self.outputs,
            grouping=self.grouping,
            measured=measured,
            explain=explain,
            find=self.report is not None,
            spectra_limit=self.spectra_limit,
            overwrite=self.overwrite,
            progress=progress,
        )

    def facts(self, decision: Decision) -> dict[str, Any]:
        """What a program wants to know of the decision and its files, ready for JSON."""
        return {**decision.facts(), "report": None if self.report is None else str(self.report)}

    def write_report(
        self,
        decision: Decision,
        source: Source,
        explain: Explain,
        made: Manifest,
        progress: Progress,
        *,
        glt: Glt | None = None,
        measured: Path | None = None,
    ) -> None:
        """Write the page, where one was asked for, once the run's manifest says how it was made.

        Raises:
            OutputError: It cannot be written.
        """
        if self.report is None:
            return
        from hadgeo.cli.manifests import as_command
        from hadgeo.decisions.report import line_of_decision, write_report

        line = line_of_decision(
            decision,
            source,
            explain,
            glt=glt,
            measured=measured,
            run=made.model_dump(mode="json"),
            repeat=as_command(made),
        )
        write_report([line], self.report, limit=self.report_limit, progress=progress)


def request(given: dict[str, Any], *, overwrite: bool) -> Request:
    """What a command's options ask for, with the rule ``--pfa 1e-3`` where they name none.

    Args:
        given: The values of the options of `decision`.
        overwrite: Whether outputs may be replaced.

    Raises:
        ParameterError: Several rules are given, or an option is out of bounds.
        OutputError: An output's name is empty.
    """
    from hadgeo.decisions.decision import Outputs

    outputs = Outputs(**{name: _path(given[name], name) for name in _OUTPUT_NAMES})
    page = _path(given["report"], "report")
    return Request(
        _rule(given), _grouping(given), outputs, overwrite, page, given["report_limit"], given["spectra_limit"]
    )


def mission_request(context: click.Context) -> MissionAnomalies | None:
    """What a batch's options ask for; None where only maps are wanted.

    Raises:
        ParameterError: Several rules are given, an option is out of bounds, or it is of polygons that are not wanted.
        OutputError: The name of the file is empty.
    """
    from hadgeo.mission.anomalies import MissionAnomalies

    given = context.params
    out = _path(given["polygons"], "polygons")
    if out is None:
        for name in MISSION_NAMES:
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                raise ParameterError(f"--{name.replace('_', '-')} is of polygons; add --polygons FILE, or omit it")
        return None
    return MissionAnomalies(
        out,
        _rule(given),
        _grouping(given),
        given["calibrate_on"],
        given["polygons_crs"],
        given["join_distance"],
        _path(given["report"], "report"),
        given["report_limit"],
    )


def _rule(given: dict[str, Any]) -> Rule:
    from hadgeo.decisions.calibration import Rule

    rules = {name: given[name] for name in RULES if given[name] is not None}
    if len(rules) > 1:
        names = " and ".join(f"--{name}" for name in rules)
        raise ParameterError(f"{names}: give one of --pfa, --percentile, --value and --top")
    return Rule(**rules or {"pfa": DEFAULT_PFA})


def _grouping(given: dict[str, Any]) -> Grouping:
    from hadgeo.decisions.decision import Grouping

    return Grouping(int(given["connectivity"]), given["min_pixels"], given["merge_distance"], given["grow_pfa"])


def _path(name: str | None, option: str) -> Path | None:
    if name == "":
        raise OutputError(f"the output's name is empty; give the name of a file with --{option.replace('_', '-')}")
    return None if name is None else Path(name)


def describe(decision: Decision, request: Request) -> list[str]:
    """What a decision says to people, one line of text for each thing."""
    groups = "not counted: too many pixels" if decision.groups is None else f"{decision.groups:,}"
    rows = {
        "threshold": f"{decision.threshold:.6g} ({decision.rule})",
        "pixels": f"{decision.pixels:,} of {decision.valid:,} reach it; "
        f"{decision.expected_false_alarms:.3g} false alarms are expected",
        "tail": _tail(decision),
        "groups": groups,
        "grown to": None if decision.grown_to is None else f"{decision.grown_to:.6g}",
        **{name.replace("_", "-"): path for name, path in request.wanted.items()},
    }
    return [f"{name:>10}  {text}" for name, text in rows.items() if text is not None]


def _tail(decision: Decision) -> str:
    tail = decision.tail
    if tail is None:
        return "none: too few distinct values among the largest scores; rates are counted only"
    unused = "; not used, rates are counted only" if tail.quality == "poor" else ""
    return (
        f"{tail.quality} fit: generalised Pareto of shape {tail.shape:.3f} and scale {tail.scale:.4g} to the "
        f"{tail.excesses:,} scores above {tail.start:.6g}, Kolmogorov-Smirnov distance {tail.distance:.4f}{unused}"
    )
