"""What several test modules share: made scenes, sources in memory, and a progress that remembers."""

from __future__ import annotations

from hypothesis import settings

from hadgeo.testing import background, memory_source

__all__ = ["Recorder", "background", "examples", "memory_source"]


def examples(share: float) -> int:
    """A share of the examples that the profile of hypothesis asks for, so that a long search is long for every test."""
    return max(1, round(share * settings().max_examples))


class Recorder:
    """A `Progress` that remembers what it was told, and cancels after `patience` questions."""

    def __init__(self, patience: int | None = None) -> None:
        self.stages: dict[str, list[int]] = {}
        self.messages: list[str] = []
        self._patience = patience
        self._current: list[int] = []

    def stage(self, name: str, total: int) -> None:
        self._current = self.stages[name] = [0, total]

    def advance(self, n: int = 1) -> None:
        self._current[0] += n

    def message(self, text: str) -> None:
        self.messages.append(text)

    def cancelled(self) -> bool:
        if self._patience is None:
            return False
        self._patience -= 1
        return self._patience < 0
