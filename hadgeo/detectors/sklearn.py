"""scikit-learn, which some detectors fit with, and none scores with; imported when first needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from threadpoolctl import threadpool_limits

from hadgeo.errors import MissingExtraError


@contextmanager
def sklearn_module(name: str, detector: str) -> Iterator[Any]:
    """A module of scikit-learn, on one thread, on which its results depend in their last digits, and without warnings.

    Args:
        name: The module, such as "cluster".
        detector: Who needs it, for messages.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        module = import_module(f"sklearn.{name}")
    except ImportError as error:
        raise MissingExtraError(
            f'{detector}: to fit it needs scikit-learn; install it with pip install "hadgeo[sklearn]"'
        ) from error
    with threadpool_limits(1), warnings.catch_warnings():
        # Of clusters that nothing fell into, and of iterations that were enough for our purpose.
        warnings.simplefilter("ignore")
        yield module
