"""Several detectors on one scene with a truth: who finds most, how surely, and in what time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hadgeo.compute.device import resolve_device
from hadgeo.cube import SceneLike, as_source
from hadgeo.detectors.registry import fittable_detectors, make_detector
from hadgeo.errors import OutputError, ParameterError, TruthError
from hadgeo.evaluation.evaluate_maps import Evaluation, evaluate
from hadgeo.evaluation.truth import TARGET, open_truth
from hadgeo.files import check_output, same_file, writing
from hadgeo.formats.source import Source
from hadgeo.maps.reader import ScoreMap
from hadgeo.maps.writer import disk_bytes
from hadgeo.progress import SILENT, Progress
from hadgeo.run.engine import detect
from hadgeo.run.learning import SuppressFrom, SurfacesLike


@dataclass(frozen=True)
class Contender:
    """A detector and the parameters to run it with.

    Attributes:
        name: Its name in the registry.
        parameters: What differs from the defaults.

    Examples:
        >>> Contender("bs3lnet", {"steps": 200}).label
        'bs3lnet:steps=200'
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tells it apart: ``bs3lnet:steps=200``."""
        return ":".join([self.name, ",".join(f"{key}={value}" for key, value in self.parameters.items())]).rstrip(":")


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard.

    Attributes:
        contender: The detector.
        evaluation: Its evaluation; the map that this names is deleted unless a folder was given.
        seconds: Wall time of each stage of its run.
    """

    contender: Contender
    evaluation: Evaluation
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "detector": self.contender.name,
            "parameters": dict(self.contender.parameters),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            **self.evaluation.to_dict(),
        }


def compare(
    scene: SceneLike,
    truth: str | os.PathLike[str],
    contenders: Sequence[Contender | str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    bands: str | Sequence[int] | None = None,
    background: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    suppress: SurfacesLike | None = None,
    suppress_from: SuppressFrom = "learning",
    device: str = "auto",
    memory: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> list[Entry]:
    """Run detectors on a scene, one after the other, and rank them by AUC(D,F), then AP.

    Args:
        scene: A file, a cube (band, y, x) or an open source.
        truth: What is known of it; see `hadgeo.evaluation.truth.open_truth`.
        contenders: The detectors, no two alike; a name alone stands for that detector with its defaults. By default
            all that there are and that can be fitted here.
        folder: Where the maps are kept, as ``<scene>_<detector>.tif``, made if its parent exists; a temporary folder by
            default.
        bands: As for `hadgeo.detect`.
        background: As for `hadgeo.detect`.
        exclude: As for `hadgeo.detect`.
        suppress: As for `hadgeo.detect`.
        suppress_from: As for `hadgeo.detect`.
        device: As for `hadgeo.detect`.
        memory: As for `hadgeo.detect`.
        resamples: Bootstrap resamples; 0 omits the intervals. All detectors are compared on the same resamples.
        seed: Makes the resamples repeatable; a detector's own seed is a parameter of it.
        overwrite: Whether existing maps may be replaced.
        progress: Follows the runs and may cancel them.

    Returns:
        One entry for each detector, the best first.

    Raises:
        DetectorNotFoundError: There is no detector of such a name.
        ParameterError: Two detectors are alike, there is none, or a parameter is out of bounds.
        DeviceError: The device is not available.
        TruthError: The truth does not fit the scene, or holds no target.
        OutputError: A map cannot be written.
        HadgeoError: Whatever else `hadgeo.detect` and `evaluate` raise. Maps that are finished stay.

    Examples:
        >>> board = hadgeo.compare("line.img", "truth.gpkg", ["rx", Contender("bs3lnet", {"steps": 200})])
        >>> best = board[0]
        >>> print(best.contender.label, best.evaluation.values["ap"])
    """
    contenders = _contenders(contenders)
    _check(contenders)
    resolve_device(device)
    source = as_source(scene)
    _check_truth(truth, source)
    entries = []
    with ExitStack() as stack:
        home = Path(folder) if folder is not None else Path(stack.enter_context(TemporaryDirectory(prefix="hadgeo-")))
        maps = [_map_path(home, source, contender) for contender in contenders]
        if not home.exists() and home.parent.is_dir():
            with writing(home):
                home.mkdir()
        for path in maps:
            check_output(path, overwrite=overwrite, nbytes=disk_bytes(source.shape[1] * source.shape[2]))
            if same_file(path, Path(truth)):
                raise OutputError(f"{path} is the truth itself; keep the maps in another folder with -o")
        for contender, path in zip(contenders, maps, strict=True):
            progress.message(f"detector: {contender.label}")
            done = detect(
                source,
                contender.name,
                parameters=dict(contender.parameters),
                out=path,
                bands=bands,
                background=background,
                exclude=exclude,
                suppress=suppress,
                suppress_from=suppress_from,
                device=device,
                memory=memory,
                overwrite=overwrite,
                # The truth is on the scene's own grid.
                glt=None,
                progress=progress,
            )
            entries.append(Entry(contender, evaluate(path, truth, resamples=resamples, seed=seed), done.seconds))
    return sorted(entries, key=lambda e: (e.evaluation.values["auc_d_f"], e.evaluation.values["ap"]), reverse=True)


def _contenders(named: Sequence[Contender | str] | None) -> list[Contender]:
    """Detectors as they shall run, all that can be fitted here where none is named."""
    if named is None:
        named = fittable_detectors()
    elif isinstance(named, str):
        # A text is a sequence too, of letters.
        named = [named]
    for one in named:
        if not isinstance(one, str | Contender):
            raise ParameterError(f"a detector to compare is a name or a hadgeo.Contender, not {one!r}")
    return [Contender(one) if isinstance(one, str) else one for one in named]


def _check(contenders: Sequence[Contender]) -> None:
    if not contenders:
        raise ParameterError("no detector to compare; name some with -d rx,bs3lnet")
    seen = set()
    for contender in contenders:
        make_detector(contender.name, dict(contender.parameters))
        if contender.label in seen:
            raise ParameterError(f"-d {contender.label} is given twice; omit one, or change a parameter")
        seen.add(contender.label)


def _check_truth(truth: str | os.PathLike[str], source: Source) -> None:
    """Refuse a truth before hours are spent on scores."""
    classes = open_truth(truth, ScoreMap(Path(source.path), source.metadata.grid))
    if not (classes == TARGET).any():
        raise TruthError(f"{truth}: no target lies within {source.path}; is this the truth of this scene?")


def _map_path(folder: Path, source: Source, contender: Contender) -> Path:
    return folder / re.sub(r"[^\w.=-]+", "_", f"{Path(source.path).stem}_{contender.label}.tif")
