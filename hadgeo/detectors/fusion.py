"""Fusion: several detectors look at a scene, and what each takes for rare is added up.

Detectors of different kinds err in different places, and their targets are the same. Each part's score becomes evidence
-log p, p the share of the scene's pixels that score at least as high (`hadgeo.detectors.tail_table`), and evidence is
summed: Fisher's rule for independent tests (R. A. Fisher, "Statistical Methods for Research Workers", 4th ed., 1932,
section 21.1). Parts that look for the same thing at several sizes are alternatives, of which the strongest counts
(L. H. C. Tippett, "The Methods of Statistics", 1931): a target has one size, and the other sizes would only add noise.

One part looks at what all others have found, `hadgeo.detectors.recurrence`. A target recurs in the scene or it does
not, which are alternatives again: the sums of evidence with that part and without it are compared by how rare each is.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from hadgeo.compute.cores import map_cores
from hadgeo.compute.device import double_device
from hadgeo.compute.executors import READERS
from hadgeo.compute.lanes import to_device
from hadgeo.compute.views import AS_IS, View
from hadgeo.detectors.base import Detector
from hadgeo.detectors.composition import COMPOSITIONS, Part, Term, parse
from hadgeo.detectors.precision import PrecisionParams
from hadgeo.detectors.recurrence import Recurrence
from hadgeo.detectors.tail_table import ExponentialTable, PowerTable, TailTable
from hadgeo.errors import HadgeoError
from hadgeo.progress import SILENT, Progress, Silent, Stage
from hadgeo.sampling import POOL_PIXELS, WHOLE_SIDE, Sample, valid_pixels
from hadgeo.windows import Window, pad, whole_halo

#: What the tables of sums are called in a model.
_SUMS = "alone", "whole"

#: Least sum that a score is divided by.
_TINY = torch.finfo(torch.float64).tiny

#: Rows whose evidence is worked out at a time on a core of a CPU.
_ROWS = 64

#: What a target that does not recur has to be rarer, in nats: twice. Targets mostly come in numbers; see
#: docs/benchmarks.md.
_LONE = math.log(2)

#: Side of the squares in which a part of a large scene is scored, to learn how rare scores are: some tens of them, each
#: several times as large as the halo around it.
_SQUARE = 96


class FusionParams(PrecisionParams):
    """Hyper-parameters of a fusion."""

    parts: str = Field(
        default=COMPOSITIONS["standard"],
        title="Parts",
        description="Which detectors are fused, such as 'bs3lnet + 0.5*rx(ridge=0.01) | rx@3': + adds evidence, with "
        "weights; of alternatives between | the strongest counts; @3 averages the cube over 3 x 3 pixels, ~32 averages "
        "neighbouring bands until at most 32 are left; brackets hold parameters. A last term 'recurrence' is evidence "
        "that a spectrum resembles the strongest anomalies at other places of the scene.",
    )
    seed: int = Field(
        default=0, title="Seed", description="Random seed of all parts that have one.", ge=0, le=2**63 - 1
    )

    @model_validator(mode="after")
    def _composition(self) -> Self:
        for term in self.terms:
            for part in term.parts:
                if part.detector == Fusion.name:
                    raise ValueError("a fusion cannot be part of a fusion")
                try:
                    part.make()
                except HadgeoError as error:
                    raise ValueError(str(error)) from None
        *others, last = ([part.detector for part in term.parts] for term in self.terms)
        if any(Recurrence.name in names for names in others) or (Recurrence.name in last and (not others or last[1:])):
            raise ValueError(f"{Recurrence.name} looks at what all others find, so it must stand last, after a +")
        return self

    @property
    def terms(self) -> tuple[Term, ...]:
        """What is fused."""
        return parse(self.parts)


class Fusion(Detector[FusionParams]):
    """Sum of the evidence of several detectors.

    With recurrence as a part, the score is the evidence of the sum, or that of the sum without recurrence less ln 2,
    whichever is more.

    Attributes:
        terms: What is fused.
        detectors_: The parts, in the order in which they stand in the composition, fitted.
        tables_: The table of evidence of each.
        sums_: With recurrence as a part, those of the sum without it and of the whole; else none.
    """

    name = "fusion"
    title = "Fusion (evidence of several detectors)"
    Params = FusionParams
    seed_parameter = "seed"
    precision_parameter = "precision"
    presets = {name: {"parts": parts} for name, parts in COMPOSITIONS.items()}  # noqa: RUF012 - as the contract has it
    best_at = "targets of any kind in scenes that nobody has looked at yet"
    explained_by = "the background that its first part expects"
    relative_cost = 25.0

    detectors_: list[Detector[Any]]
    tables_: list[TailTable]
    sums_: list[TailTable]

    def __init__(self, params: FusionParams | None = None) -> None:
        super().__init__(params)
        self.terms = self.params.terms
        self.detectors_ = [part.make(self.params.seed, self.params.precision) for part in self.parts]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, whatever their term."""
        return tuple(part for term in self.terms for part in term.parts)

    @property
    def part_names(self) -> tuple[str, ...]:
        """What each part is called, with parameters where that tells it from another; see `Detector.part_names`."""
        short = [str(replace(part, parameters=())) for part in self.parts]
        return tuple(
            name if short.count(name) == 1 else str(part) for name, part in zip(short, self.parts, strict=True)
        )

    @property
    def halo(self) -> int:
        """What the farthest-seeing part needs; see `Detector.halo`."""
        # Where a part sees whole blocks of an averaged cube, the average needs neighbours of all of their pixels.
        return max(d.halo + whole_halo(part.view.reach, d.grid) for d, part in self._each())

    @property
    def grid(self) -> int:
        """The smallest whose blocks hold whole blocks of all parts; see `Detector.grid`."""
        return math.lcm(*(detector.grid for detector in self.detectors_))

    @property
    def precision(self) -> str:
        """Of the parts that have a network; see `Detector.precision`."""
        return ", ".join(sorted({d.precision for d in self.detectors_ if d.precision_parameter is not None}))

    @property
    def training_steps(self) -> int:
        """Those of all parts together; see `Detector.training_steps`."""
        return sum(detector.training_steps for detector in self.detectors_)

    @property
    def loss_(self) -> list[float]:  # type: ignore[override]
        """The losses of all parts, one after the other; see `Detector`."""
        return [loss for detector in self.detectors_ for loss in detector.loss_]

    def shortened(self, steps: int) -> Self:
        """The same with parts that train for a share of so many steps, at least one each; see `Detector.shortened`."""
        total, left, short = self.training_steps, steps, type(self)(self.params)
        for number, detector in enumerate(self.detectors_):
            if detector.training_steps and total > steps:
                others = sum(1 for d in self.detectors_[number + 1 :] if d.training_steps)
                share = max(1, min(round(steps * detector.training_steps / total), left - others))
                left -= share
                short.detectors_[number] = detector.shortened(share if others else max(1, left + share))
        return short

    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Fit the parts, and learn how rare their scores are in the scene; see `Detector.fit`."""
        steps = _Together(progress, self.training_steps)
        # If parts need no more than moments, all share one pass over it.
        seen = sample.seen_together(dict.fromkeys(part.view for part in self.parts))
        for detector, part in self._each():
            if not isinstance(detector, Recurrence):
                detector.fit(seen[part.view], device=device, progress=steps)
        pieces = self._pieces(sample, device)
        self.tables_ = [_table(*of_part) for of_part in zip(*(piece.scores for piece in pieces), strict=True)]
        self.sums_ = []
        last = self.detectors_[-1]
        if isinstance(last, Recurrence):
            crops = [piece.seen for piece in pieces if piece.seen is not None]
            alone = [self._counted(piece.scores).sum(dim=0) for piece in pieces]
            last.fit_to(seen[self.parts[-1].view], crops, alone)
            again = [last.score(crop) for crop in crops]
            self.tables_.append(_table(*again, kind=ExponentialTable))
            weight, table = self.terms[-1].weight, self.tables_[-1]
            whole = [one + weight * table.evidence(two) for one, two in zip(alone, again, strict=True)]
            self.sums_ = [_table(*alone, kind=ExponentialTable), _table(*whole, kind=ExponentialTable)]
        return self

    def _pieces(self, sample: Sample, device: torch.device) -> list[_Piece]:
        """Pieces that are spread over the scene, scored by all parts that score by themselves."""
        count = sum(not isinstance(detector, Recurrence) for detector in self.detectors_)
        view = self.parts[-1].view
        lock = threading.Lock()

        def look(block: Tensor, window: Window) -> _Piece | None:
            valid = valid_pixels(block[(slice(None), *window.inner)])
            if not valid.any():
                return None
            # Of a piece that is nearly empty, no more is kept than its valid pixels span.
            span = slice(None), _span(valid.any(dim=1)), _span(valid.any(dim=0))
            with lock:
                on_device = to_device(block, device)
                scores = self._scores(on_device, window.inner, count)
                own = view.of(on_device)[(slice(None), *window.inner)][span] if count < len(self.parts) else None
            scores.masked_fill_(~valid.to(scores.device), torch.nan)
            return _Piece(scores[span].clone(), None if own is None else own.clone())

        # Lines can be nearly empty.
        for pixels in (POOL_PIXELS, sys.maxsize):
            found = sample.stream(look, halo=self.halo, pixels=pixels, square=_SQUARE)
            if pieces := [piece for piece in found if piece is not None]:
                break
        return pieces

    def _scores(self, block: Tensor, inner: tuple[slice, slice], count: int | None = None) -> Tensor:
        """The score of each part, or of the first so many, at a window's own pixels, float64 (part, y, x).

        The window has the halo of the part that sees farthest; each part is given as much as it needs itself.
        """
        each = list(self._each())[:count]
        rows, cols = inner
        own = Window(rows.start, cols.start, rows.stop - rows.start, cols.stop - cols.start)
        double = double_device(block.device)
        scores = torch.empty((len(each), own.height, own.width), dtype=torch.float64, device=double)
        grouped = {0: block}
        # Parts that see the same, one after the other, so that no average is kept for long.
        for view in dict.fromkeys(part.view for _, part in each):
            seen: dict[Window, Tensor] = {}
            if view.bands not in grouped:
                grouped[view.bands] = View(bands=view.bands).of(block)
            for number, (detector, part) in enumerate(each):
                if part.view != view:
                    continue
                near = pad(own, detector.halo, (block.shape[1], block.shape[2]), detector.grid)
                place = Window(near.outer_rows.start, near.outer_cols.start, *near.outer_shape)
                if place not in seen:
                    seen[place] = _averaged(grouped[view.bands], view.side, place)
                scores[number] = detector.score_inner(seen[place], near.inner)
        return scores

    @torch.no_grad()
    def score(self, block: Tensor) -> Tensor:
        """Evidence of all terms; see `Detector.score`."""
        return self.contributions(block).sum(dim=0)

    @torch.no_grad()
    def score_inner(self, block: Tensor, inner: tuple[slice, slice]) -> Tensor:
        """The same of a window's own pixels; see `Detector.score_inner`."""
        return self._counted(self._scores(block, inner)).sum(dim=0)

    @torch.no_grad()
    def contributions(self, block: Tensor) -> Tensor:
        """The evidence of each part as far as it counts, (part, y, x); see `Detector.contributions`."""
        return self._counted(self._scores(block, (slice(0, block.shape[1]), slice(0, block.shape[2]))))

    def _counted(self, scores: Tensor) -> Tensor:
        """The evidence of scores (part, y, x), weighted, and 0 for all but the strongest of alternatives.

        They may be those of the first parts alone, up to the end of a term.
        """
        counted = torch.zeros_like(scores)

        @torch.no_grad()
        def some(rows: slice) -> None:
            here = scores[:, rows]
            evidence = torch.stack([table.evidence(s) for table, s in zip(self.tables_, here, strict=True)])
            first = 0
            for term in self.terms:
                if first == len(here):
                    break
                part = slice(first, first + len(term.parts))
                strongest = evidence[part].argmax(dim=0, keepdim=True)
                counted[part, rows].scatter_(0, strongest, term.weight * evidence[part].gather(0, strongest))
                first = part.stop
            if self.sums_:
                counted[:, rows] *= self._share(counted[:, rows])

        rows, step = scores.shape[1], _ROWS if scores.device.type == "cpu" else scores.shape[1]
        map_cores(some, [slice(first, first + step) for first in range(0, rows, step)], scores.device)
        return counted

    def _share(self, counted: Tensor) -> Tensor:
        """By what the evidence of all parts (part, y, x) is multiplied to add up to the score, (part, y, x)."""
        # As precise as a map: parts may differ in last bits of float64 between windows, which would show where a sum is
        # the least of all and has no evidence.
        sums = torch.stack([counted[:-1].sum(dim=0), counted.sum(dim=0)]).float().double()
        lone, again = (table.evidence(one) for table, one in zip(self.sums_, sums, strict=True))
        lone = lone - _LONE
        recurs = again >= lone
        share = torch.maximum(lone, again) / torch.where(recurs, sums[1], sums[0]).clamp(min=_TINY)
        return torch.cat([share.expand(len(counted) - 1, *share.shape), (share * recurs)[None]])

    @torch.no_grad()
    def explain(self, block: Tensor) -> Tensor | None:
        """What the first part that has a notion of it expects; see `Detector.explain`.

        A part that sees averaged bands says by how much a group of them differs from what it expects. So much is taken
        from each band of the group.
        """
        for detector, part in self._each():
            if part.view == AS_IS and detector.explained_by:
                return detector.explain(block)
            if part.view.side == 1 and detector.explained_by:
                seen = part.view.of(block)
                expected = detector.explain(seen)
                return None if expected is None else block - part.view.spread(seen - expected, len(block))
        return None

    def bytes_per_pixel(self, bands: int) -> int:
        """The largest part with the average that it sees, averaged bands, and all scores; see `Detector`."""

        def averaged(part: Part) -> int:
            return 4 * part.view.count(bands) if part.view.side > 1 else 0

        largest = max(d.bytes_per_pixel(part.view.count(bands)) + averaged(part) for d, part in self._each())
        # What one part gives back to the heap is not all at hand for the next.
        left = 4 * bands
        grouped = sum(4 * view.count(bands) for view in {View(bands=part.view.bands) for part in self.parts} - {AS_IS})
        return largest + left + grouped + 3 * 8 * len(self.detectors_)

    def core_bytes(self, bands: int) -> int:
        """The largest part; see `Detector.core_bytes`."""
        return max(detector.core_bytes(part.view.count(bands)) for detector, part in self._each())

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """The largest part, or the pieces that are scored by all; see `Detector.fit_bytes`."""
        *others, last = (d.fit_bytes(part.view.count(bands), pixels) for d, part in self._each())
        piece = min(pixels, (WHOLE_SIDE + 2 * self.halo) ** 2)
        scored = piece * (READERS * 4 * bands + self.bytes_per_pixel(bands))
        # What recurrence looks at is kept from then on.
        kept = last if isinstance(self.detectors_[-1], Recurrence) else 0
        return max(*others, last, scored + kept) + 4 * 8 * len(self.detectors_) * min(pixels, POOL_PIXELS)

    def _each(self) -> Iterator[tuple[Detector[Any], Part]]:
        """The parts, and what they are made from."""
        return zip(self.detectors_, self.parts, strict=True)

    def state(self) -> dict[str, Tensor]:
        """What the parts learned, and their tables; see `Detector.state`."""
        state: dict[str, Tensor] = {}
        for number, (detector, table) in enumerate(zip(self.detectors_, self.tables_, strict=True)):
            state |= {f"{number}.{key}": value for key, value in detector.state().items()}
            state |= {f"{number}.table.{key}": value for key, value in table.state().items()}
        for name, table in zip(_SUMS, self.sums_, strict=False):
            state |= {f"{name}.{key}": value for key, value in table.state().items()}
        return state

    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take it back; see `Detector.load_state`."""
        device, given = double_device(device), device

        def table(prefix: str) -> TailTable:
            return TailTable.from_state({key: value.to(device) for key, value in _under(prefix, state)})

        self.tables_ = [table(f"{number}.table.") for number in range(len(self.detectors_))]
        self.sums_ = [table(f"{name}.") for name in _SUMS] if isinstance(self.detectors_[-1], Recurrence) else []
        for number, detector in enumerate(self.detectors_):
            own = dict(_under(f"{number}.", state))
            detector.load_state({key: value for key, value in own.items() if not key.startswith("table.")}, given)
        return self


@dataclass(frozen=True)
class _Piece:
    """A piece of a scene from which a fusion learns how rare scores are.

    Attributes:
        scores: Of each part, float64 (part, y, x), NaN where invalid.
        seen: What recurrence sees of it, (band, y, x); None where it is no part.
    """

    scores: Tensor
    seen: Tensor | None


def _span(chosen: Tensor) -> slice:
    """From the first to the last that are chosen."""
    places = chosen.nonzero().flatten()
    return slice(int(places[0]), int(places[-1]) + 1)


def _table(*scores: Tensor, kind: type[TailTable] = PowerTable) -> TailTable:
    """The table of scores of pieces, or of sums of evidence, NaN where invalid."""
    together = torch.cat([of_piece.flatten() for of_piece in scores])
    return kind.of(together[~together.isnan()])


def _averaged(block: Tensor, side: int, place: Window) -> Tensor:
    """A part of a cube (band, y, x), averaged over squares of so many pixels a side."""
    view = View(side=side)
    near = pad(place, view.reach, (block.shape[1], block.shape[2]))
    return view.of(block[:, near.outer_rows, near.outer_cols])[(slice(None), *near.inner)]


def _under(prefix: str, state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Tensors whose names begin with a prefix, under the rest of their names."""
    return ((key.removeprefix(prefix), value) for key, value in state.items() if key.startswith(prefix))


class _Together(Silent):
    """The training steps of several detectors as one stage.

    Args:
        progress: Whom to tell.
        total: Steps of all of them.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def stage(self, name: str, total: int) -> None:
        """Go on with the stage, or begin another."""
        if name != Stage.FIT:
            self._progress.stage(name, total)
            return
        self._progress.stage(Stage.FIT, self._total)
        self._progress.advance(self._done)

    def advance(self, n: int = 1) -> None:
        """Count steps."""
        self._done += n
        self._progress.advance(n)

    def message(self, text: str) -> None:
        """Hand on."""
        self._progress.message(text)

    def cancelled(self) -> bool:
        """Ask."""
        return self._progress.cancelled()
