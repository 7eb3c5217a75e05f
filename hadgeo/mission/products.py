"""What is made of the maps of a batch: mosaic, layer of anomalies, pictures and summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hadgeo.decisions.decision import Explain, explained_by
from hadgeo.decisions.report import check_report
from hadgeo.errors import HadgeoError, MissingExtraError, OutputError
from hadgeo.files import sha256_of
from hadgeo.formats.source import Source
from hadgeo.maps.mosaic import Mosaic, check_mosaic, make_mosaic
from hadgeo.mission.anomalies import MissionAnomalies
from hadgeo.mission.batch_record import BatchRecord
from hadgeo.mission.flight_lines import FlightLine, line_names
from hadgeo.mission.folder import CSV, HTML, OVERVIEW, RECORD, THUMBNAILS
from hadgeo.mission.layer_manifest import check_layer_manifest, write_layer_manifest
from hadgeo.mission.outcomes import Batch, MissionLayer, Outcome, Watch
from hadgeo.mission.settings import Settings
from hadgeo.mission.summary import Row, write_csv, write_html
from hadgeo.pictures.overview import LineToDraw, overview
from hadgeo.pictures.quicklook import quicklook
from hadgeo.progress import Progress
from hadgeo.run.manifest import manifest_path

if TYPE_CHECKING:
    from hadgeo.mission.layer import LayerWriter

#: Pixels that a thumbnail's map may be wide and high.
_THUMBNAIL_SIZE = 480


class Products:
    """Makes them.

    Args:
        folder: The folder of the batch.
        settings: What holds for all lines.
        record: Of the batch.
        watch: Follows it.
        mosaic: Where the mosaic shall stand, or None.
        anomalies: What to write of the anomalies of all lines, or None.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        record: BatchRecord,
        watch: Watch,
        mosaic: Path | None,
        anomalies: MissionAnomalies | None,
    ) -> None:
        self._folder, self._settings, self._record, self._watch = folder, settings, record, watch
        self._mosaic_path = mosaic
        self._request = anomalies
        self._layer = None
        if anomalies is not None:
            self._layer = _layer_writer()(anomalies, record, folder, overwrite=settings.overwrite)
        self._pictures = bool(find_spec("matplotlib") and find_spec("jinja2"))
        if not self._pictures:
            watch.message(f'{HTML} is not written; install matplotlib and jinja2 with pip install "hadgeo[report]"')

    def check(self, lines: Sequence[FlightLine]) -> None:
        """Refuse early what could not be written late.

        Raises:
            OutputError: A file cannot be written.
            ParameterError: The name of a file says no known format.
            MissingExtraError: A library is missing.
        """
        scenes = [Path(line.scene) for line in lines]
        if self._mosaic_path is not None:
            check_mosaic(self._mosaic_path, scenes, overwrite=self._settings.overwrite)
        if self._layer is not None and self._request is not None:
            self._layer.check([*scenes, *(line.map for line in lines)])
            check_layer_manifest(self._request.out, self._folder / RECORD)
        if self._request is not None and self._request.report is not None:
            page = self._request.report
            ours = bool(self._record.product(self._relative(page)))
            needed = [*scenes, *(line.map for line in lines), self._request.out]
            check_report(page, needed, overwrite=self._settings.overwrite or ours)

    def make(self, batch: Batch) -> Batch:
        """Make all that is made when the maps are there; the summary stands whatever fails of it."""
        self._summarise(batch)
        if self._mosaic_path is not None:
            batch = replace(batch, mosaic=self._mosaic(batch.outcomes, self._mosaic_path))
        if self._layer is not None:
            batch = replace(batch, layer=self._anomalies(batch, self._layer))
        if batch.layer is not None and self._request is not None and self._request.report is not None:
            batch = replace(batch, report=self._report(batch, self._request, self._request.report))
        batch = replace(batch, overview=self._overview(batch))
        self._summarise(batch)
        return batch

    def thumbnail(self, line: FlightLine, scene: Source, scores: Path, *, anew: bool) -> Path | None:
        """A small picture of a line; None where there can be none."""
        if not self._pictures:
            return None
        picture = self._folder / THUMBNAILS / f"{line.map.stem}.png"
        if picture.exists() and not anew:
            return picture
        try:
            picture.parent.mkdir(exist_ok=True)
            # What all of them would say stands once on the page: most of the time that a thumbnail takes is its text.
            quicklook(
                scene, scores, out=picture, size=_THUMBNAIL_SIZE, title=line.map.stem, notes=False, overwrite=True
            )
        except (HadgeoError, OSError) as error:
            self._watch.message(f"{line.scene}: no thumbnail ({error})")
            return None
        return picture

    def _summarise(self, batch: Batch) -> None:
        rows = [
            Row(one.line.scene, one.state, str(one.line.map), one.facts, one.error, one.thumbnail)
            for one in batch.outcomes
        ]
        write_csv(rows, self._folder / CSV)
        if self._pictures:
            write_html(rows, self._folder / HTML, layer=batch.layer, overview=batch.overview, report=batch.report)

    def _mosaic(self, outcomes: Sequence[Outcome], path: Path) -> Mosaic:
        maps = [one.line.map for one in outcomes if one.state != "failed"]
        if not maps:
            raise OutputError(f"{path}: no flight line has a map to put in it; the summary says why")
        made = make_mosaic(maps, path, overwrite=self._settings.overwrite)
        for left_out, reason in made.left_out.items():
            self._watch.message(f"{left_out} was left out of the mosaic: {reason}")
        return made

    def _anomalies(self, batch: Batch, writer: LayerWriter) -> MissionLayer:
        lines = _finished(batch)
        progress = self._watch.deciding()

        def explain(name: str) -> Explain:
            return self._explain(lines[name], batch, progress)

        maps = {name: line.map for name, line in lines.items()}
        made_with = {name: self._record.settings(self._relative(line.map)) for name, line in lines.items()}
        layer = writer.write(maps, made_with, explain, progress)
        if not layer.kept or not manifest_path(layer.path).exists():
            write_layer_manifest(layer.path, lines, self._settings.reading)
        for name, reason in layer.left_out.items():
            self._watch.message(f"{name} was left out of {layer.path}: {reason}")
        return layer

    def _overview(self, batch: Batch) -> Path | None:
        """A picture of all lines, unless the one that is there is of the same maps and anomalies."""
        lines = _finished(batch)
        picture = self._folder / OVERVIEW
        if not self._pictures or not lines:
            return None
        layer = None if batch.layer is None else batch.layer.path
        made_with = {name: self._record.settings(self._relative(line.map)) for name, line in lines.items()}
        shown = {"maps": made_with, "polygons": None if layer is None else sha256_of(layer)}
        if picture.exists() and self._record.product(OVERVIEW) == shown:
            return picture
        try:
            drawn = overview(
                [LineToDraw(name, line.map, self._settings.open(line)) for name, line in lines.items()],
                picture,
                title=self._folder.absolute().name,
                polygons=layer,
                overwrite=True,
            )
        except (HadgeoError, OSError) as error:
            self._watch.message(f"no overview ({error})")
            return None
        for name, reason in drawn.left_out.items():
            self._watch.message(f"{name} is not in the overview: {reason}")
        self._record.note_product(OVERVIEW, shown)
        return picture

    def _report(self, batch: Batch, request: MissionAnomalies, page: Path) -> Path:
        """The page of the layer, unless the one that is there is of the same maps and the same layer."""
        from hadgeo.mission.review_page import ShownLine, write_review_page

        lines, progress = _finished(batch), self._watch.deciding()
        made_with = {name: self._record.settings(self._relative(line.map)) for name, line in lines.items()}
        shown = {"maps": made_with, "polygons": sha256_of(request.out), "limit": request.report_limit}
        if page.exists() and self._record.product(self._relative(page)) == shown:
            return page

        def opened(name: str, line: FlightLine) -> ShownLine:
            scene = self._settings.open(line)
            facts = self._record.facts(self._relative(line.map))
            run = {"options": made_with[name], "seconds": {"detect": facts.get("seconds")}}
            glt = self._settings.geometry(line, scene)
            return ShownLine(scene, line.map, glt, self._explain(line, batch, progress), run)

        names = {name: partial(opened, name, line) for name, line in lines.items()}
        write_review_page(request, names, title=self._folder.absolute().name, progress=progress)
        self._record.note_product(self._relative(page), shown)
        return page

    def _explain(self, line: FlightLine, batch: Batch, progress: Progress) -> Explain:
        """Compares the anomalies of a line with the background: with the median around, where it was fitted alone."""
        common = self._settings
        scene = common.open(line)
        return explained_by(
            scene,
            None if line.apart else batch.model,
            resample_bands=common.resample_bands,
            glt=common.geometry(line, scene),
            device=common.device,
            progress=progress,
        )

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self._folder)).as_posix()


def _layer_writer() -> type[LayerWriter]:
    try:
        from hadgeo.mission.layer import LayerWriter
    except ImportError as error:
        raise MissingExtraError(f'polygons need {error.name}; install it with pip install "hadgeo[vector]"') from error
    return LayerWriter


def _finished(batch: Batch) -> dict[str, FlightLine]:
    """The lines that have a map, by name."""
    lines = [one.line for one in batch.outcomes]
    named = zip(line_names(lines), batch.outcomes, strict=True)
    return {name: one.line for name, one in named if one.state != "failed"}
