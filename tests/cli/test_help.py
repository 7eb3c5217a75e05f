"""What `--help` shows."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hadgeo.cli import cli


@pytest.mark.parametrize("command", ["compare", "detect", "evaluate", "train"])
def test_each_example_stands_on_a_line_of_its_own(command: str) -> None:
    text = CliRunner().invoke(cli, [command, "--help"]).stdout
    assert "\\b" not in text
    lines = text.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) > 1
    assert all(line.strip().startswith("hadgeo ") for line in lines)
