"""Mutants of sound inputs of every kind end in success or in one line; see `benchmarks/fuzz.py` for the long run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: A few of each kind.
MUTANTS = 500

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="mutants run in forked processes")


def test_mutants_of_every_kind_of_input_are_taken_or_refused_in_one_line() -> None:
    # A process of its own: threads of this one would not be in what is forked from it.
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), str(MUTANTS), "--seed", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *_, total, last = done.stdout.splitlines()
    assert last.startswith(f"{MUTANTS} mutants")
    name, taken, refused, *bad = total.split()
    assert (name, bad) == ("all", ["0", "0", "0"])
    # Neither are they all sound, nor all beyond recognition.
    assert min(int(taken), int(refused)) > MUTANTS / 10
