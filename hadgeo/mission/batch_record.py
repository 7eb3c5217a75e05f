"""What is known of a batch from one run to the next: with which settings its maps and model were begun and finished.

One JSON file beside the maps. Maps are named relative to it, so that the folder may move.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, PositiveInt, model_validator

from hadgeo.errors import OutputError
from hadgeo.files import write_whole
from hadgeo.maps.journal import differences


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class MapFacts(_Strict):
    """What was found out on the way to a map.

    Attributes:
        detector: The detector that scored it.
        bands: Bands used.
        rows: Rows of the scene.
        cols: Columns.
        valid: Pixels that have a score.
        seconds: Wall time of all stages.
        pixels_per_second: Valid pixels over that.
    """

    detector: str
    bands: PositiveInt
    rows: PositiveInt
    cols: PositiveInt
    valid: NonNegativeInt
    seconds: FiniteFloat
    pixels_per_second: FiniteFloat


class _Map(_Strict):
    """A map: with what it was begun, with what it was finished, or both."""

    begun: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None
    facts: MapFacts | None = None
    bytes: NonNegativeInt | None = None

    def known(self) -> dict[str, Any]:
        """What of it there is; values in settings may be None as well, and stay."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    @model_validator(mode="after")
    def _finished_or_not(self) -> Self:
        if len({self.settings is None, self.facts is None, self.bytes is None}) > 1:
            raise ValueError("a finished map has settings, facts and a size")
        return self


class _Layer(BaseModel):
    """What is known of a layer of all anomalies that is made."""

    model_config = ConfigDict(strict=True)

    request: dict[str, Any]
    maps: dict[str, Any]
    sha256: str
    crs: str
    objects: NonNegativeInt
    duplicates: NonNegativeInt
    left_out: dict[str, str]


class _Record(_Strict):
    """The whole file."""

    model: dict[str, Any]
    maps: dict[str, _Map]
    # Records of versions that made maps alone have none.
    products: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _layers_whole(self) -> Self:
        for product in self.products.values():
            if "request" in product:
                _Layer.model_validate(product)
        return self


class BatchRecord:
    """The record of a batch, which several threads may write.

    Args:
        path: Its file, which is read where it is there.

    Attributes:
        model: With what the model of all lines was fitted; empty where none was.

    Raises:
        OutputError: The file is damaged, or something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._maps: dict[str, dict[str, Any]] = {}
        # As they stand in the file: it is written anew twice for each line, and grows with their number.
        self._texts: dict[str, str] = {}
        self._products: dict[str, dict[str, Any]] = {}
        self.model: dict[str, Any] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            content = _Record.model_validate(json.loads(self._path.read_text("utf-8")))
            self.model, self._products = content.model, content.products
            self._maps = {name: one.known() for name, one in content.maps.items()}
            # What is nested too deeply cannot be written again.
            json.dumps(content.model_dump())
        except (OSError, ValueError, RecursionError):
            raise OutputError(
                f"{self._path}: not the record of a batch, or damaged; move it away, and use --overwrite to make the "
                "maps again"
            ) from None

    def settings(self, name: str) -> dict[str, Any]:
        """What a map was finished with."""
        settings: dict[str, Any] = self._maps.get(name, {}).get("settings", {})
        return settings

    def facts(self, name: str) -> dict[str, Any]:
        """What was found out on the way to a map."""
        facts: dict[str, Any] = self._maps[name]["facts"]
        return facts

    def is_finished(self, name: str, wanted: Mapping[str, Any], path: Path) -> bool:
        """Whether a map is there as it was finished with these settings."""
        entry = self._maps.get(name, {})
        return path.is_file() and _same(entry.get("settings"), wanted) and entry.get("bytes") == path.stat().st_size

    def is_begun(self, name: str, begun: Mapping[str, Any]) -> bool:
        """Whether a map was begun with these settings, and not finished."""
        return _same(self._maps.get(name, {}).get("begun"), begun)

    def begin(self, name: str, begun: Mapping[str, Any]) -> None:
        """Note that a map is begun; with what an older one of that name was finished stays."""
        with self._lock:
            self._note(name, {**self._maps.get(name, {}), "begun": dict(begun)})

    def finish(self, name: str, settings: Mapping[str, Any], facts: Mapping[str, Any], path: Path) -> None:
        """Note that a map is finished."""
        with self._lock:
            self._note(name, {"settings": dict(settings), "facts": dict(facts), "bytes": path.stat().st_size})

    def product(self, name: str) -> dict[str, Any]:
        """What was noted of a file that is made from all maps; empty where nothing was."""
        return self._products.get(name, {})

    def note_product(self, name: str, known: Mapping[str, Any]) -> None:
        """Note what is known of a file that is made from all maps, in the place of what was."""
        with self._lock:
            self._products[name] = _plain(known)
            self._write()

    def is_fitted(self, wanted: Mapping[str, Any]) -> bool:
        """Whether the model was fitted with these settings."""
        return _same(self.model, wanted)

    def fitted(self, settings: Mapping[str, Any]) -> None:
        """Note with what the model was fitted."""
        with self._lock:
            self.model = _plain(settings)
            self._write()

    def _note(self, name: str, entry: dict[str, Any]) -> None:
        self._maps[name] = entry
        self._texts.pop(name, None)
        self._write()

    def _write(self) -> None:
        """Write what ``json.dumps`` would with an indent of 1, of which all but what is new is kept."""
        for name in self._maps.keys() - self._texts.keys():
            self._texts[name] = f"{json.dumps(name)}: {_indented(self._maps[name], 2)}"
        maps = ",\n  ".join(self._texts[name] for name in self._maps)
        parts = {
            "model": _indented(self.model, 1),
            "maps": f"{{\n  {maps}\n }}" if maps else "{}",
            "products": _indented(self._products, 1),
        }
        content = ",\n ".join(f'"{name}": {text}' for name, text in parts.items())
        write_whole(self._path, f"{{\n {content}\n}}".encode())


def _indented(value: Mapping[str, Any], depth: int) -> str:
    """JSON of a value within others, whose lines begin with so many spaces more."""
    return json.dumps(value, indent=1).replace("\n", "\n" + " " * depth)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def describe_difference(earlier: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """How settings differ, for people."""
    if not earlier:
        return "it was not made by a batch"
    return differences(earlier, _plain(wanted)) or "it has been changed since"


def _same(earlier: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    return earlier is not None and _plain(earlier) == _plain(wanted)
