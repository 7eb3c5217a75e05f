"""Which detectors a fusion is made of, as one line of text: ``bs3lnet + 0.5*rx(ridge=0.01) | rx@3``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hadgeo.compute.views import AS_IS, View
from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector

#: RX for targets of about a pixel, against a background for each block, and for larger ones.
_RX = "block_rx~32 | rx@3(cfar_window=15)"

_STANDARD = f"bs3lnet~32 | block_rx@3~32 + {_RX} + 0.5*kmeans~32(cfar_window=15) + 0.5*ring_predictor~32"

#: What resembles the strongest anomalies at other places. It looks at what all others find, so it comes last.
_AGAIN = "2*recurrence~32"

#: Compositions by name. How they were chosen stands in docs/benchmarks.md.
COMPOSITIONS = {
    "fast": "local_rx~32(ridge=0.01, cfar_window=15) | block_rx@3~32"
    f" + {_RX} + kmeans~32(cfar_window=15) + 0.5*ring_predictor~32 + {_AGAIN}",
    "standard": f"{_STANDARD} + {_AGAIN}",
    "thorough": f"{_STANDARD} + 0.5*scoread~32 + {_AGAIN}",
}

#: Bounds of a weight: with others, a part would count for nothing, or all others would.
_WEIGHTS = 1e-6, 1e6

_TERM = re.compile(
    r"(?:(?P<weight>[0-9.eE+-]+)\s*\*\s*)?(?P<name>[A-Za-z][\w-]*)"
    r"(?:\s*@\s*(?P<side>\d+))?(?:\s*~\s*(?P<bands>\d+))?\s*(?:\((?P<given>[^()]*)\))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Part:
    """A detector in a fusion.

    Attributes:
        detector: Its name.
        parameters: Hyper-parameters that differ from its defaults.
        view: What of the cube is averaged for it.
    """

    detector: str
    parameters: tuple[tuple[str, str], ...] = ()
    view: View = AS_IS

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.parameters)
        side = f"@{self.view.side}" if self.view.side > 1 else ""
        bands = f"~{self.view.bands}" if self.view.bands else ""
        return self.detector + side + bands + (f"({given})" if given else "")

    def make(self, seed: int = 0, precision: str = "auto") -> Detector[Any]:
        """The detector, unfitted.

        Args:
            seed: For one that draws at random, unless the part sets its own.
            precision: For one with a network, likewise.

        Raises:
            DetectorNotFoundError: There is no such detector.
            ParameterError: A parameter is unknown or out of bounds.
        """
        detector = make_detector(self.detector, dict(self.parameters))
        roles = {detector.seed_parameter: seed, detector.precision_parameter: precision}
        own = {None, *dict(self.parameters)}
        update = {role: value for role, value in roles.items() if role not in own}
        return type(detector)(detector.params.model_copy(update=update))


@dataclass(frozen=True)
class Term:
    """Parts of which the strongest counts.

    Attributes:
        weight: By which their evidence is multiplied, above 0.
        parts: The parts, at least one.
    """

    weight: float
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        told = " | ".join(str(part) for part in self.parts)
        return told if self.weight == 1 else f"{self.weight:g}*{told}"


def parse(text: str) -> tuple[Term, ...]:
    """Read a composition.

    Args:
        text: Terms separated by ``+``, whose evidence is added. A term is a detector, or several separated by ``|``, of
            which the strongest counts; its first may be preceded by a weight and ``*``. A detector may be followed by
            ``@3``, for the cube averaged over 3 x 3 pixels, by ``~32``, for neighbouring bands averaged until no more
            than 32 are left, and by its parameters in brackets, separated by commas.

    Raises:
        ValueError: It is not of that form; the message says where.

    Examples:
        >>> parse("bs3lnet + 0.5*rx(ridge=0.01)")[1]
        Term(weight=0.5, parts=(Part(detector='rx', parameters=(('ridge', '0.01'),), view=View(side=1, bands=0)),))
    """
    terms = []
    for told in _split(text, "+"):
        weight, parts = 1.0, []
        for number, alternative in enumerate(_split(told, "|")):
            match = _TERM.fullmatch(alternative.strip())
            if match is None or (match["weight"] and number):
                raise ValueError(
                    f"{alternative.strip()!r} is no part of a fusion; write such as rx, 0.5*rx(ridge=0.01) or rx@3"
                )
            if match["weight"]:
                weight = _weight(match["weight"])
            parts.append(Part(match["name"], _parameters(match["given"] or ""), _view(match["side"], match["bands"])))
        terms.append(Term(weight, tuple(parts)))
    return tuple(terms)


def _split(text: str, sign: str) -> list[str]:
    """Split at a sign outside brackets, and outside numbers such as 1e+3."""
    return re.split(rf"(?<![0-9][eE])[{re.escape(sign)}](?![^(]*\))", text)


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    least, most = _WEIGHTS
    if not least <= weight <= most:
        raise ValueError(f"the weight {text} must be a number from {least:g} to {most:g}")
    return weight


def _view(side: str | None, bands: str | None) -> View:
    view = View(int(side or 1), int(bands or 0))
    if view.side % 2 == 0 or view.side > 31:
        raise ValueError(f"@{side}: the side of the window to average over must be odd and at most 31")
    if bands and view.bands < 2:
        raise ValueError(f"~{bands}: at least 2 bands must be left")
    return view


def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for key, sign, _ in pairs:
        if not sign:
            raise ValueError(f"{key.strip()!r}: write a parameter as name=value")
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)
