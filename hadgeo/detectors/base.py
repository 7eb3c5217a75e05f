"""The contract of a detector, like scikit-learn's: hyper-parameters in, `fit` learns, what is learned ends in ``_``.

A new detector is one class that subclasses `Detector`, and one line that announces it; see docs/extending.md. All that
the engine, the command line and dialogs know of a detector stands here: none of them looks for a parameter by its name.
Detectors see tensors only; files, windows and devices are the engine's business.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from hadgeo.progress import SILENT, Progress
from hadgeo.sampling import POOL_PIXELS, WHOLE_SIDE, Sample

_GLOBAL_STATE = threading.Lock()


class Params(BaseModel):
    """Hyper-parameters of a detector; each field has a title, a description, a default and bounds.

    Attributes:
        basic: Names of the few that a user should see first; dialogs put the others under "advanced".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    basic: ClassVar[tuple[str, ...]] = ()


ParamsT = TypeVar("ParamsT", bound=Params)
N = TypeVar("N", bound=nn.Module)


class Detector(ABC, Generic[ParamsT]):
    """Scores how little each pixel belongs to its scene; higher means more anomalous.

    Args:
        params: Hyper-parameters; the defaults where it is None.

    Attributes:
        name: What users type.
        title: What users read.
        Params: The pydantic model of the hyper-parameters.
        seed_parameter: The hyper-parameter that ``--seed`` sets; None for a detector that draws nothing at random.
        steps_parameter: The hyper-parameter that is the number of training steps; None where there is none.
        precision_parameter: The hyper-parameter that ``--precision`` sets, one of ``auto``, ``bfloat16`` and
            ``float32``; None for a detector without a network.
        presets: Values of several hyper-parameters under one name, which users type as the parameter ``preset``.
        best_at: What it finds best, in a few words; empty if nobody says.
        explained_by: What `explain` gives, in a few words; empty if it gives nothing.
        relative_cost: Seconds per pixel of a whole run with defaults on a CPU, in units of those of RX; None if nobody
            has measured it.
        fitted_by: The package that `fit` imports and that comes with an extra of the same name; empty for none.
        window_tolerance: Largest relative difference between the scores of a pixel in different windows; 0 where they
            have the same bits, as arithmetic in canonical tiles gives (`hadgeo.detectors.tiles`).
        score_name: What a score is called in a map's description.
        params: The hyper-parameters, never changed by `fit`.
        loss_: Training loss of each step of the last fit; empty where there are none, or before it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    Params: ClassVar[type[Params]]
    seed_parameter: ClassVar[str | None] = None
    steps_parameter: ClassVar[str | None] = None
    precision_parameter: ClassVar[str | None] = None
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    best_at: ClassVar[str] = ""
    explained_by: ClassVar[str] = ""
    relative_cost: ClassVar[float | None] = None
    fitted_by: ClassVar[str] = ""
    window_tolerance: ClassVar[float] = 0.0
    score_name: ClassVar[str] = "anomaly score"

    loss_: Sequence[float] = ()

    def __init__(self, params: ParamsT | None = None) -> None:
        self.params: ParamsT = params if params is not None else self._default_params()

    @classmethod
    def _default_params(cls) -> Any:
        return cls.Params()

    def __repr__(self) -> str:
        changed = self.params.model_dump(mode="json", exclude_defaults=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    @property
    @abstractmethod
    def halo(self) -> int:
        """Pixels of true neighbours on each side that a score needs."""

    @property
    def grid(self) -> int:
        """Side in pixels of the blocks of a scene that share something in their scores; 1 where there are none.

        Blocks are counted from the first row and column of the scene. What the engine hands to `score` and `explain`
        begins and ends at the border of a block, or of the scene.
        """
        return 1

    @property
    def precision(self) -> str:
        """In what a fitted detector multiplies, where that is not always the same; else empty.

        That of a network is ``bfloat16`` or ``float32``: what `precision_parameter` says, and with ``auto`` what the
        device of the fit does best. Others choose by what they have learned.
        """
        return ""

    @property
    def training_steps(self) -> int:
        """Training steps of a fit, which it counts in `Stage.FIT`; 0 for a fit in closed form.

        As `steps_parameter` says; a detector that counts its training otherwise overrides this and `shortened`.
        """
        return 0 if self.steps_parameter is None else int(getattr(self.params, self.steps_parameter))

    def shortened(self, steps: int) -> Self:
        """The same detector, unfitted and with no more than some training steps: for a trial.

        Args:
            steps: The most steps, at least 1.
        """
        params = self.params
        if self.steps_parameter is not None:
            params = params.model_copy(update={self.steps_parameter: min(steps, self.training_steps)})
        return type(self)(params)

    @abstractmethod
    def fit(self, sample: Sample, *, device: torch.device, progress: Progress = SILENT) -> Self:
        """Learn the background.

        Args:
            sample: The pixels to learn from.
            device: Where to compute; the fitted detector stays there.
            progress: Follows the training steps in `Stage.FIT`, and is asked before each whether to stop.

        Returns:
            The detector itself.

        Raises:
            FitError: The pixels do not determine a background.
            Cancelled: `progress` asked for it.
        """

    @abstractmethod
    def score(self, block: Tensor) -> Tensor:
        """Score a window.

        The engine hands in the window with as much halo as the scene has, and cuts the halo off the result. So a side
        without halo is the scene's border, where the detector pads by reflection on its own.

        Args:
            block: (band, y, x), finite or NaN, on the device of the fit.

        Returns:
            (y, x) scores; whatever stands at pixels with a NaN band is replaced by NaN.
        """

    def score_inner(self, block: Tensor, inner: tuple[slice, slice]) -> Tensor:
        """Score a window's own pixels alone: as `score`, whose result is cut unless a detector can do better.

        Args:
            block: As for `score`.
            inner: Rows and columns of the window's own pixels in it.

        Returns:
            Their scores (y, x), the same bits as `score` gives them.
        """
        return self.score(block)[inner]

    def explain(self, block: Tensor) -> Tensor | None:  # noqa: ARG002 - for those that can
        """The background that was expected in place of each pixel, which a detector may be able to tell.

        As for `score`, a side of the window without halo is the scene's border.

        Args:
            block: (band, y, x), finite or NaN, on the device of the fit.

        Returns:
            Spectra (band, y, x) in the units of `block`, NaN in every band of a pixel with a NaN band; None where the
            detector has no such notion.
        """
        return None

    @property
    def part_names(self) -> tuple[str, ...]:
        """What the parts of a score are called, where it is a sum of several; else empty."""
        return ()

    def contributions(self, block: Tensor) -> Tensor:
        """The parts of each pixel's score; only for a detector with `part_names`.

        Args:
            block: As for `score`.

        Returns:
            (part, y, x); their sum is the score.
        """
        raise NotImplementedError(f"{self.name}: a score of one part")

    @abstractmethod
    def bytes_per_pixel(self, bands: int) -> int:
        """Bytes that `score` takes for each pixel of a window, beside the window itself."""

    def core_bytes(self, bands: int) -> int:  # noqa: ARG002 - for those that need it
        """Bytes that `score` takes on each core that it uses at once, however large the window is.

        Args:
            bands: Bands used.
        """
        return 0

    def fit_bytes(self, bands: int, pixels: int) -> int:
        """Bytes that `fit` takes, beside the pieces of the scene that are streamed through it.

        By default nothing for a fit in closed form. For one in steps, `POOL_PIXELS` of `Sample.crops` and a copy of
        them, and what `score` takes for the largest crop.

        Args:
            bands: Bands used.
            pixels: Pixels of the scene.
        """
        if self.training_steps == 0:
            return 0
        crops = 2 * 4 * bands * min(pixels, POOL_PIXELS)
        return crops + self.bytes_per_pixel(bands) * min(pixels, WHOLE_SIDE**2)

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What `fit` learned, as named tensors."""

    @abstractmethod
    def load_state(self, state: dict[str, Tensor], device: torch.device) -> Self:
        """Take back what `state` gave.

        Args:
            state: Named tensors.
            device: Where to score.
        """


_NETWORK = "network."


def network_state(network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors as a part of `Detector.state`."""
    return {_NETWORK + name: value for name, value in network.state_dict().items()}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let layers draw their first weights from a seed.

    They draw from torch's global state, which is the caller's and is put back, and which all threads share.
    """
    with _GLOBAL_STATE, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def load_network(make: Callable[[], N], state: dict[str, Tensor], device: torch.device) -> N:
    """A network of what `network_state` took from one like it, ready to score on a device.

    It is made without memory, and then of these tensors: none takes more than they have, and no weights are drawn that
    would be replaced.

    Args:
        make: Makes such a network, all of whose tensors are in its state.
        state: Of a detector; it keeps its tensors.
        device: Where to score.

    Raises:
        RuntimeError: A tensor is missing, superfluous or of another shape.
    """
    with torch.device("meta"):
        network = make()
    kinds = {name: value.dtype for name, value in network.state_dict().items()}
    own = {k.removeprefix(_NETWORK): v for k, v in state.items() if k.startswith(_NETWORK)}
    own = {name: value.to(device, kinds.get(name), copy=True) for name, value in own.items()}
    network.load_state_dict(own, assign=True)
    return network.eval()
