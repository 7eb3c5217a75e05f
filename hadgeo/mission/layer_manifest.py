"""What the layer of a mission was made from, by which spectra of its objects are found again in their scenes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hadgeo.errors import OutputExistsError
from hadgeo.files import sha256_of
from hadgeo.formats.reading import Reading
from hadgeo.maps.reader import open_scores
from hadgeo.mission.flight_lines import FlightLine
from hadgeo.run.manifest import SCENES_OF_MAPS, check_manifest, make_manifest, manifest_path, write_manifest

_COMMAND, _OPTION = "batch", "--polygons"


def check_layer_manifest(layer: Path, record: Path) -> None:
    """Refuse early a manifest that would take another file's place.

    Args:
        layer: The layer.
        record: What the batch remembers, in JSON, too.

    Raises:
        OutputExistsError: It would.
        OutputError: No file can have that name.
    """
    path = manifest_path(layer)
    if path.absolute() == record.absolute():
        raise OutputExistsError(f"{layer}: {path.name} beside it is what the batch remembers; rename {_OPTION}")
    check_manifest(layer, _COMMAND, overwrite=True, option=_OPTION)


def write_layer_manifest(layer: Path, lines: Mapping[str, FlightLine], reading: Reading) -> None:
    """Write down of which scene each map is that the layer was made from.

    Args:
        layer: The layer.
        lines: The lines that have a map.
        reading: How their scenes are read.

    Raises:
        OutputError: It cannot be written.
    """
    maps = [line.map for line in lines.values()]
    # The outlines of an orthorectified map are not on the pixels of the scene.
    placed = [line for line in lines.values() if not open_scores(line.map).orthorectified]
    options = {**asdict(reading), "scenes": [str(line.scene) for line in lines.values()]}
    manifest = make_manifest(
        _COMMAND,
        options=options,
        inputs=[Path(line.scene) for line in lines.values()],
        outputs=[layer, *maps],
        facts={SCENES_OF_MAPS: {sha256_of(line.map): _in_full(line.scene) for line in placed}},
        seconds={},
        valid=0,
    )
    write_manifest(manifest, manifest_path(layer))


def _in_full(scene: object) -> str:
    """The name of a scene that holds in any folder; of what only GDAL opens, as it is."""
    path = Path(str(scene))
    return str(path.absolute()) if path.exists() else str(scene)
