"""The flight lines of a batch: named one by one, or in a table with settings of their own."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hadgeo.detectors.registry import DEFAULT_DETECTOR, make_detector
from hadgeo.errors import HadgeoError, ParameterError

#: What the name of a column begins with that gives a detector's parameter.
_PARAMETER = "p."

_COLUMNS = ("scene", "output", "detector", "bands", "glt", "igm")


@dataclass(frozen=True)
class FlightLine:
    """A flight line.

    Attributes:
        scene: Its file.
        map: Where its scores go; a text is taken for a path.
        detector: A detector of its own, or None for the one of all lines.
        bands: Bands of its own, or None.
        parameters: Parameters of its own.
        glt: Its lookup table, where it is in the sensor's geometry, or None; see `hadgeo.open_glt`.
        igm: Coordinates of its pixels instead, or None; see `hadgeo.open_igm`.
    """

    scene: str
    map: Path
    detector: str | None = None
    bands: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    glt: str | None = None
    igm: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "map", Path(self.map))

    @property
    def apart(self) -> bool:
        """Whether it has settings of its own, which no model of all lines could have."""
        return self.detector is not None or self.bands is not None or bool(self.parameters)

    def parameters_with(self, detector: str, parameters: Mapping[str, str]) -> dict[str, str]:
        """Its detector's parameters: those of all lines, where it has the same detector, under its own.

        Args:
            detector: The detector of all lines.
            parameters: The parameters of all lines.
        """
        shared = parameters if self.detector in (None, detector) else {}
        return {**shared, **self.parameters}


def flight_lines(
    scenes: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str], *, kind: str = "anomaly"
) -> list[FlightLine]:
    """Lines without settings of their own.

    Args:
        scenes: Their files.
        folder: Where their maps go, as ``<scene>_anomaly.tif``.
        kind: What stands in the place of ``anomaly`` there.

    Returns:
        One line for each scene, in order.

    Raises:
        ParameterError: Two of them would have the same map.

    Examples:
        >>> lines = flight_lines(sorted(Path("mission").glob("*.img")), "maps")
        >>> batch = run_batch(lines, "maps")
    """
    folder = Path(folder)
    lines = [FlightLine(os.fspath(scene), _default_map(os.fspath(scene), folder, kind)) for scene in scenes]
    _check_distinct(lines, [line.scene for line in lines])
    return lines


def read_flight_lines(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    detector: str = DEFAULT_DETECTOR,
    parameters: Mapping[str, str] | None = None,
    kind: str = "anomaly",
    outside: bool = False,
) -> list[FlightLine]:
    """Read the table of a mission: CSV in UTF-8 with a row of headings and one row per flight line.

    The column ``scene`` names a file, relative to the table's own folder. Any of these may stand beside it: ``output``
    (the map, relative to `folder`), ``detector``, ``bands``, ``p.NAME`` for a detector's parameter, and ``glt`` or
    ``igm`` for what leads to a map from the sensor's geometry (relative to the table's folder). An empty cell leaves
    what holds for all lines.

    Args:
        path: The table.
        folder: Where maps go.
        detector: The detector of lines that name none.
        parameters: The parameters of all lines.
        kind: As for `flight_lines`.
        outside: Whether the table may put maps outside of `folder`.

    Returns:
        One line for each row, in order.

    Raises:
        ParameterError: It cannot be read, or a heading or a row is wrong; the message says which row.
    """
    table, folder = Path(path), Path(folder)
    lines, origins = [], []
    for number, row in _rows(table):
        origin = f"{table}: row {number}"
        lines.append(_line(row, origin, table.parent, folder, kind))
        if not outside:
            _check_inside(lines[-1].map, origin, folder)
        _check_detector(lines[-1], origin, detector, parameters or {})
        origins.append(origin)
    if not lines:
        raise ParameterError(f"{table}: the table is empty; below the headings, give one row per scene")
    _check_distinct(lines, origins)
    return lines


def line_names(lines: Sequence[FlightLine]) -> list[str]:
    """A short name for each line that no other has: its scene's, or its map's where two scenes are called the same."""
    for names in ([Path(line.scene).stem for line in lines], [line.map.stem for line in lines]):
        if len(set(names)) == len(names):
            return names
    return [line.map.as_posix() for line in lines]


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number in the file and cells of each row that is not empty."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            headings = [cell.strip() for cell in next(reader, [])]
            _check_headings(headings, table)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if any("\0" in cell for cell in cells):
                    raise ParameterError(
                        f"{table}: row {reader.line_num}: a cell contains a NUL; save the table as text"
                    )
                if len(cells) > len(headings):
                    raise ParameterError(
                        f"{table}: row {reader.line_num}: {len(cells)} cells under {len(headings)} headings; "
                        "put quotes around cells that contain a comma"
                    )
                yield reader.line_num, dict(zip(headings, (cell.strip() for cell in cells), strict=False))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, HadgeoError):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ParameterError(f"{table}: not a readable table ({reason}); give CSV in UTF-8") from None


def _check_headings(headings: Sequence[str], table: Path) -> None:
    for heading in headings:
        allowed = heading in _COLUMNS or (heading.startswith(_PARAMETER) and heading != _PARAMETER)
        if not allowed:
            raise ParameterError(
                f"{table}: row 1: unknown heading {heading[:80]!r}; known headings are {', '.join(_COLUMNS)} and p.NAME"
            )
        if headings.count(heading) > 1:
            raise ParameterError(f"{table}: row 1: the heading {heading} appears twice; remove one")
    if "scene" not in headings:
        raise ParameterError(f"{table}: row 1: no heading 'scene'; the first row names the columns")


def _line(row: Mapping[str, str], origin: str, beside: Path, folder: Path, kind: str) -> FlightLine:
    if not row["scene"]:
        raise ParameterError(f"{origin}: no scene; name its file")
    scene = row["scene"] if "://" in row["scene"] or row["scene"].startswith("/vsi") else str(beside / row["scene"])
    if row.get("glt") and row.get("igm"):
        raise ParameterError(f"{origin}: glt and igm; give one of them")
    output = row.get("output")
    if output and Path(output).suffix.lower() not in (".tif", ".tiff"):
        raise ParameterError(f"{origin}: a map is a GeoTIFF; the output {output} must end in .tif")
    return FlightLine(
        scene,
        folder / output if output else _default_map(scene, folder, kind),
        row.get("detector") or None,
        row.get("bands") or None,
        {
            name.removeprefix(_PARAMETER).replace("-", "_"): value
            for name, value in row.items()
            if name.startswith(_PARAMETER) and value
        },
        **{name: str(beside / row[name]) for name in ("glt", "igm") if row.get(name)},
    )


def _check_inside(out: Path, origin: str, folder: Path) -> None:
    """Refuse a map that a table puts elsewhere than the user has said, through links too."""
    if not out.parent.resolve().is_relative_to(folder.resolve()):
        raise ParameterError(
            f"{origin}: the output {out} lies outside of -o {folder}; give a name within it, or allow that with "
            "--outputs-outside"
        )


def _check_detector(line: FlightLine, origin: str, detector: str, parameters: Mapping[str, str]) -> None:
    try:
        make_detector(line.detector or detector, line.parameters_with(detector, parameters))
    except HadgeoError as error:
        raise type(error)(f"{origin}: {error}") from None


def _default_map(scene: str, folder: Path, kind: str) -> Path:
    return folder / f"{Path(scene).stem}_{kind}.tif"


def _check_distinct(lines: Sequence[FlightLine], origins: Sequence[str]) -> None:
    """Refuse maps that would take each other's place, or a scene's."""
    seen: dict[Path, str] = {}
    scenes = {Path(line.scene).resolve(): origin for line, origin in zip(lines, origins, strict=True)}
    for line, origin in zip(lines, origins, strict=True):
        key = line.map.resolve()
        if key in seen:
            raise ParameterError(
                f"{origin} and {seen[key]} would have the same map, {line.map}; name a different output in a --table"
            )
        if key in scenes:
            raise ParameterError(f"{origin}: its map {line.map} would replace the scene of {scenes[key]}")
        seen[key] = origin
