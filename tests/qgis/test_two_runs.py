"""Two runs that want the same output: the one that is refused leaves the other's work alone."""

import threading
import time

import pytest
from conftest import Log
from qgis.core import QgsApplication, QgsProcessingContext, QgsProcessingException

#: Training for minutes: only the end of the process stops it.
LONG = {"DETECTOR": "bs3lnet", "BS3LNET_STEPS": 100_000}


class Run(threading.Thread):
    """One run of an algorithm, as QGIS runs it beside its window."""

    def __init__(self, name, parameters):
        super().__init__(daemon=True)
        self.feedback, self.error = Log(), None
        self._algorithm = QgsApplication.processingRegistry().createAlgorithmById(f"hadgeo:{name}")
        self._parameters, self._context = parameters, QgsProcessingContext()
        self.start()

    def run(self):
        try:
            self._algorithm.run(self._parameters, self._context, self.feedback, {}, False)
        except QgsProcessingException as error:
            self.error = str(error)


def wait(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("more", [{}, {"POLYGONS": "x.gpkg", "SPECTRA": True}])
def test_of_two_runs_on_one_output_one_goes_on(provider, scene, tmp_path, more):
    given = {key: str(tmp_path / value) if isinstance(value, str) else value for key, value in more.items()}
    runs = [Run("detect", {"INPUT": scene, "OUTPUT": str(tmp_path / "x.tif"), **LONG, **given}) for _ in range(2)]
    wait(lambda: any(not run.is_alive() for run in runs))
    refused, going = sorted(runs, key=threading.Thread.is_alive)
    assert "is being written by another run" in refused.error
    part = tmp_path / "x.tif.part"
    assert going.is_alive()
    assert (part / "hadgeo.lock").exists()
    # Beyond 15 % it trains, step by step.
    wait(lambda: going.feedback.progress() > 15)
    assert (part / "hadgeo.lock").exists()
    going.feedback.cancel()
    going.join(60)
    assert going.error is None
    assert not list(tmp_path.iterdir())


def test_what_an_earlier_run_has_left_is_kept(provider, scene, tmp_path):
    part = tmp_path / "x.tif.part"
    part.mkdir()
    for name in ("hadgeo.lock", "journal.jsonl"):
        (part / name).touch()
    (part / "mine.txt").write_text("not of a run")
    going = Run("detect", {"INPUT": scene, "OUTPUT": str(tmp_path / "x.tif"), **LONG})
    wait(lambda: going.feedback.progress() > 15 or not going.is_alive())
    going.feedback.cancel()
    going.join(60)
    assert (part / "mine.txt").read_text() == "not of a run"
