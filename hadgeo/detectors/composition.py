"""Which detectors a fusion is made of, as one line of text: ``bs3lnet + 0.5*rx(ridge=0.01) | rx@3``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hadgeo.detectors.base import Detector
from hadgeo.detectors.registry import make_detector

#: Compositions by name. How they were chosen stands in docs/benchmarks.md.
COMPOSITIONS = {
    "fast": "kmeans(cfar_window=15) + 1.5*block_rx | rx@3",
    "standard": "1.5*bs3lnet + kmeans(cfar_window=15) + 1.5*block_rx | rx@3",
    "thorough": "bs3lnet + scoread + kmeans(cfar_window=15) + 1.5*block_rx | rx@3",
}

_TERM = re.compile(
    r"(?:(?P<weight>[0-9.eE+-]+)\s*\*\s*)?(?P<name>[A-Za-z][\w-]*)(?:\s*@\s*(?P<average>\d+))?\s*(?:\((?P<given>[^()]*)\))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Part:
    """A detector in a fusion.

    Attributes:
        detector: Its name.
        parameters: Hyper-parameters that differ from its defaults.
        average: Side in pixels, odd, of the window over which the cube is averaged for it; 1 for none.
    """

    detector: str
    parameters: tuple[tuple[str, str], ...] = ()
    average: int = 1

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.parameters)
        return self.detector + (f"@{self.average}" if self.average > 1 else "") + (f"({given})" if given else "")

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
            ``@3``, for the cube averaged over 3 x 3 pixels, and by its parameters in brackets, separated by commas.

    Raises:
        ValueError: It is not of that form; the message says where.

    Examples:
        >>> parse("bs3lnet + 0.5*rx(ridge=0.01)")[1]
        Term(weight=0.5, parts=(Part(detector='rx', parameters=(('ridge', '0.01'),), average=1),))
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
            parts.append(Part(match["name"], _parameters(match["given"] or ""), _average(match["average"])))
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
    if not 0 < weight < float("inf"):
        raise ValueError(f"the weight {text} must be a number above 0")
    return weight


def _average(text: str | None) -> int:
    average = int(text or 1)
    if average % 2 == 0 or average > 31:
        raise ValueError(f"@{average}: the side of the window to average over must be odd and at most 31")
    return average


def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for key, sign, _ in pairs:
        if not sign:
            raise ValueError(f"{key.strip()!r}: write a parameter as name=value")
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)
