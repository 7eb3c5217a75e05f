"""Where small texts go in a picture so that they can be read and hide little of it. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Share of a picture that texts may cover.
_SHARE = 0.04


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """In square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def meets(self, other: Box) -> bool:
        """Whether another one has a point in common with this one."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def inside(self, other: Box) -> bool:
        """Whether this one lies within another one."""
        across = self.left >= other.left and self.right <= other.right
        return across and self.top >= other.top and self.bottom <= other.bottom


@dataclass
class Labels:
    """Places texts one after the other, the most important first.

    Attributes:
        frame: Where they may be.
    """

    frame: Box
    _covered: float = 0.0
    _cells: dict[tuple[int, int], list[Box]] = field(default_factory=dict)

    def place(self, around: Box, size: tuple[float, float], *, centred: bool = False) -> Box | None:
        """Find room for a text beside something.

        Args:
            around: What the text is of.
            size: Its width and height.
            centred: Whether it goes onto the middle of that, and nowhere else.

        Returns:
            Where it goes, which is taken from now on; None where there is no room, or enough is covered.
        """
        if self._covered + size[0] * size[1] > _SHARE * self.frame.area:
            return None
        for box in [_on(around, size)] if centred else _beside(around, size):
            if box.inside(self.frame) and not any(box.meets(other) for other in self._near(box)):
                self._take(box)
                return box
        return None

    def avoid(self, box: Box) -> None:
        """Let no text cover a place."""
        for cell in _cells_of(box):
            self._cells.setdefault(cell, []).append(box)

    def _near(self, box: Box) -> Iterator[Box]:
        for cell in _cells_of(box):
            yield from self._cells.get(cell, ())

    def _take(self, box: Box) -> None:
        self._covered += box.area
        self.avoid(box)


#: Pixels of a cell in which neighbours are looked for.
_CELL = 64


def _cells_of(box: Box) -> Sequence[tuple[int, int]]:
    across = range(int(box.left // _CELL), int(box.right // _CELL) + 1)
    down = range(int(box.top // _CELL), int(box.bottom // _CELL) + 1)
    return [(col, row) for col in across for row in down]


def _on(around: Box, size: tuple[float, float]) -> Box:
    """The box of a size around the middle of something."""
    left, top = (around.left + around.right - size[0]) / 2, (around.top + around.bottom - size[1]) / 2
    return Box(left, top, left + size[0], top + size[1])


def _beside(around: Box, size: tuple[float, float]) -> Iterator[Box]:
    """Boxes at the corners and the sides of something, the best first."""
    width, height = size
    middle, half = (around.left + around.right - width) / 2, (around.top + around.bottom - height) / 2
    for left, top in (
        (around.right, around.top - height),
        (around.right, around.bottom),
        (around.left - width, around.top - height),
        (around.left - width, around.bottom),
        (around.right, half),
        (middle, around.top - height),
        (around.left - width, half),
        (middle, around.bottom),
    ):
        yield Box(left, top, left + width, top + height)
