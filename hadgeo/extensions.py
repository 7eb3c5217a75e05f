"""What goes by a name and is loaded when first asked for: hadgeo's own, and what other packages announce.

Packages announce a detector or a format as an entry point of a group. One that cannot be used never stands in the way
of the others: it is ignored with a warning, or refused if a user asks for it by name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from hadgeo.errors import ExtensionError, ExtensionWarning

T = TypeVar("T")

#: Names stand on command lines (``NAME:KEY=VALUE,NAME``), in names of files and in dialogs.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


class Registry(Generic[T]):
    """Things of one kind by name.

    Args:
        group: The group of entry points under which other packages announce theirs.
        built_in: hadgeo's own, as ``"module:attribute"`` by name; their names cannot be taken.
        flaw: Says in words what is wrong with something that another package announces; an empty text if nothing is.
    """

    def __init__(self, group: str, built_in: Mapping[str, str], flaw: Callable[[str, object], str]) -> None:
        self._group = group
        self._built_in = built_in
        self._flaw = flaw
        self._loaded: dict[str, T] = {}
        self._refused: dict[str, str] = {}
        self._told: set[str] = set()

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        """Other packages' in the order of their names, then hadgeo's own in theirs."""
        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self._group), key=lambda point: (point.name, point.value)):
            problem = self._problem(point, found)
            if problem:
                _leave_aside(f"{self._described(point)}: {problem}; it is ignored")
            else:
                found[point.name] = point
        return found | {name: EntryPoint(name, value, self._group) for name, value in self._built_in.items()}

    def _problem(self, point: EntryPoint, found: Mapping[str, EntryPoint]) -> str:
        """Why an entry point's name cannot be used; an empty text if it can."""
        if not _NAME.fullmatch(point.name):
            return "a name must start with a letter or digit, followed by letters, digits, _, . or -"
        if point.name in self._built_in:
            return f"{point.name} is a name of hadgeo's own; choose another one"
        if point.name in found:
            return f"the name is taken by {self._described(found[point.name])}; uninstall one of the two"
        return ""

    def _described(self, point: EntryPoint) -> str:
        package = f" of the package {point.dist.name}" if point.dist is not None else ""
        return f"the entry point {point.name!r} ({point.value}) in {self._group}{package}"

    def names(self) -> list[str]:
        """All names: other packages' first, in alphabetical order, then hadgeo's own. Loads nothing."""
        return list(self._points)

    def load(self, name: str) -> T:
        """Load what has a name.

        Args:
            name: One of `names`.

        Raises:
            ExtensionError: It is another package's and cannot be used.
        """
        if name not in self._loaded:
            point = self._points[name]
            self._loaded[name] = point.load() if name in self._built_in else self._load_foreign(point)
        return self._loaded[name]

    def _load_foreign(self, point: EntryPoint) -> T:
        if point.name in self._refused:
            raise ExtensionError(self._refused[point.name])
        try:
            loaded: T = point.load()
            problem = self._flaw(point.name, loaded)
        except Exception as error:
            # Another package's code may raise anything while it is imported or looked at.
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if problem:
            text = f"{self._described(point)} cannot be used: {problem}; repair, update or uninstall that package"
            self._refused[point.name] = text
            raise ExtensionError(text)
        return loaded

    def usable(self) -> Iterator[tuple[str, T]]:
        """Load one after the other, in the order of `names`; one warning for each that cannot be used.

        Yields:
            The name, and what it stands for.
        """
        for name in self.names():
            try:
                loaded = self.load(name)
            except ExtensionError as error:
                if name not in self._told:
                    self._told.add(name)
                    _leave_aside(str(error))
            else:
                yield name, loaded


def _leave_aside(text: str) -> None:
    warnings.warn(text, ExtensionWarning, stacklevel=4)
