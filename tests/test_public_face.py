"""What `import hadgeo` offers: complete, described, forgiving of likely mistakes, and short when it is printed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import hadgeo
from hadgeo.errors import DetectorNotFoundError, OutputError, ParameterError

ARRAY = np.zeros((12, 40, 30), dtype=np.float32)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "line.img"
    hadgeo.simulate(path, rows=48, cols=40, bands=20, targets=5, seed=3)
    return path


@pytest.fixture(scope="module")
def scores(scene: Path) -> Path:
    return hadgeo.detect(scene, "rx").path


@pytest.mark.parametrize("name", sorted(set(hadgeo.__all__) - {"__version__"}))
def test_each_public_name_says_what_it_is(name: str) -> None:
    text = inspect.getdoc(getattr(hadgeo, name)) or ""
    # A dataclass without a docstring gets its signature for one.
    assert text
    assert not text.startswith(f"{name}(")


def _functions() -> list[str]:
    return [name for name in hadgeo.__all__ if inspect.isroutine(getattr(hadgeo, name))]


@pytest.mark.parametrize("name", _functions())
def test_each_public_function_describes_its_arguments(name: str) -> None:
    function = getattr(hadgeo, name)
    arguments, text = inspect.signature(function).parameters, inspect.getdoc(function) or ""
    described = text.partition("Args:\n")[2].partition("\n\n")[0]
    assert [argument for argument in arguments if f"    {argument}: " not in described] == []
    assert not arguments or "Raises:" in text
    assert any(section in text for section in ("Returns:", "Yields:")) or not arguments or name == "write_evidence"


@pytest.mark.parametrize(
    "call",
    [
        lambda out: hadgeo.open_cube(ARRAY),
        lambda out: hadgeo.mask(ARRAY, "land.gpkg"),
        lambda out: hadgeo.detect(ARRAY, "rx", out=out / "map.tif"),
        lambda out: hadgeo.train(ARRAY, "rx", out=out / "m.hadgeo"),
        lambda out: hadgeo.train([ARRAY], "rx", out=out / "m.hadgeo"),
        lambda out: hadgeo.quicklook(ARRAY, out=out / "line.png"),
        lambda out: hadgeo.compare(ARRAY, "truth.tif", ["rx"]),
        lambda out: hadgeo.gather_evidence(ARRAY, None, []),
    ],
    ids=["open_cube", "mask", "detect", "train", "train on several", "quicklook", "compare", "gather_evidence"],
)
def test_a_bare_array_is_refused_with_a_hint(call: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"not ndarray; wrap an array as xarray\.DataArray") as refused:
        call(tmp_path)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_an_array_wrapped_as_the_hint_says_is_a_scene(scene: Path, tmp_path: Path) -> None:
    values = hadgeo.open_cube(scene).values
    wrapped = xr.DataArray(values, dims=("band", "y", "x"))
    done = hadgeo.detect(wrapped, "rx", bands="1-20", out=tmp_path / "map.tif")
    assert done.shape == (48, 40)


def test_a_file_is_not_yet_a_cube_to_mask(scene: Path) -> None:
    with pytest.raises(ParameterError, match=r"a scene is an xarray\.DataArray, such as `open_cube` gives, not str$"):
        hadgeo.mask(str(scene), "land.gpkg")  # type: ignore[arg-type]


def test_one_scene_is_enough_to_train(scene: Path, tmp_path: Path) -> None:
    models = [
        hadgeo.train(scenes, "rx", out=tmp_path / f"{number}.hadgeo")
        for number, scenes in enumerate(([scene], scene, str(scene), hadgeo.open_cube(scene)))
    ]
    assert len({model.hash for model in models}) == 1


def test_detectors_are_compared_by_name(scene: Path) -> None:
    truth = scene.with_name("line_truth.tif")
    shrunk = hadgeo.Contender("rx", {"shrinkage": 0.5})
    board = hadgeo.compare(scene, truth, ["rx", shrunk], resamples=0)
    assert {entry.contender.label for entry in board} == {"rx", "rx:shrinkage=0.5"}
    (alone,) = hadgeo.compare(scene, truth, "rx", resamples=0)
    named = next(entry for entry in board if entry.contender == hadgeo.Contender("rx"))
    assert alone.evaluation.values == named.evaluation.values
    with pytest.raises(DetectorNotFoundError, match="'xr'; did you mean 'rx'"):
        hadgeo.compare(scene, truth, ["xr"])
    with pytest.raises(ParameterError, match="rx is given twice"):
        hadgeo.compare(scene, truth, ["rx", hadgeo.Contender("rx")])


def test_texts_are_taken_for_paths(scene: Path, scores: Path, tmp_path: Path) -> None:
    folder = str(tmp_path)
    outputs = hadgeo.Outputs(polygons=f"{folder}/a.gpkg", p_values=f"{folder}/p.tif")  # type: ignore[arg-type]
    decision = hadgeo.decide(str(scores), hadgeo.Rule(top=5), outputs)
    assert decision.outputs.polygons == tmp_path / "a.gpkg"
    opened = hadgeo.open_scores(str(scores))
    found = hadgeo.find_anomalies(opened, decision.threshold, hadgeo.calibrate(opened))
    assert hadgeo.write_polygons(found, f"{folder}/b.gpkg") == tmp_path / "b.gpkg"
    lines = hadgeo.flight_lines([str(scene)], folder)
    assert lines == [hadgeo.FlightLine(str(scene), f"{folder}/line_anomaly.tif")]  # type: ignore[arg-type]
    (tmp_path / "lines.csv").write_text(f"scene\n{scene}\n")
    assert hadgeo.read_flight_lines(f"{folder}/lines.csv", folder) == lines


def test_evidence_takes_what_was_found(scene: Path, scores: Path) -> None:
    opened = hadgeo.open_scores(scores)
    calibration = hadgeo.calibrate(opened)
    found = hadgeo.find_anomalies(opened, calibration.threshold(hadgeo.Rule(top=6)), calibration)
    evidence = hadgeo.gather_evidence(scene, None, found.groups)
    assert evidence.id.values.tolist() == [group.id for group in found.groups] == list(range(1, len(found) + 1))
    assert evidence.pixels.sum() == found.groups.sizes.sum() >= 6


def test_what_is_printed_fits_a_line_or_two(scene: Path, scores: Path, tmp_path: Path) -> None:
    parameters = {"shrinkage": 0.5}
    done = hadgeo.detect(scene, "rx", parameters=parameters, out=tmp_path / "map.tif")
    seconds = sum(done.seconds.values())
    assert repr(done) == (
        f"Detection(path={str(done.path)!r}, detector=RX(shrinkage=0.5), bands={len(done.bands.indices)}, "
        f"shape=(48, 40), seconds={seconds:.2f})"
    )
    assert repr(hadgeo.make_detector("bs3lnet")) == "BS3LNet()"
    opened = hadgeo.open_scores(scores)
    calibration = hadgeo.calibrate(opened)
    found = hadgeo.find_anomalies(opened, calibration.threshold(hadgeo.Rule(top=6)), calibration)
    assert repr(found) == f"Anomalies({len(found)} groups of {len(found.groups.pixels)} pixels, detector='rx')"
    model = hadgeo.train(scene, "rx", parameters=parameters, out=tmp_path / "m.hadgeo")
    evaluation = hadgeo.evaluate(scores, scene.with_name("line_truth.tif"), resamples=10)
    for value, most in ((calibration, 400), (model, 300), (evaluation, 1500), (done.bands, 200)):
        assert len(repr(value)) < most, repr(value)
        assert "\n" not in repr(value)


def test_a_changed_cube_has_no_map_beside_the_file_that_it_came_from(scene: Path) -> None:
    cube = hadgeo.open_cube(scene)
    before = sorted(scene.parent.iterdir())
    for changed in (cube * 2, cube.isel(y=slice(30))):
        with pytest.raises(OutputError, match=r"name (one|the output) with -o"):
            hadgeo.detect(changed, "rx")
    assert sorted(scene.parent.iterdir()) == before


def test_a_detection_and_an_open_map_stand_for_their_file(scene: Path, tmp_path: Path) -> None:
    done = hadgeo.detect(scene, "rx", out=tmp_path / "map.tif")
    rule = hadgeo.Rule(top=3)
    assert hadgeo.decide(done, rule).threshold == hadgeo.decide(hadgeo.open_scores(done), rule).threshold
    told = repr(hadgeo.evaluate(done, scene.with_name("line_truth.tif"), resamples=0))
    assert "auc_d_f=0." in told
    assert len(told) < 300
    assert "<th>bands</th><td>" in done._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda scene: hadgeo.decide(scene, 1e-3), r"such as Rule\(pfa=1e-3\), not 0.001"),
        (lambda scene: hadgeo.compare(scene, "t.tif", [("rx", {})]), "is a name or a hadgeo.Contender, not"),
        (lambda scene: hadgeo.run_batch([str(scene)], "maps"), "makes them of names"),
        (lambda scene: hadgeo.detect(scene, 5), "not int"),
        (lambda scene: hadgeo.detect(scene, str(scene)), "for a model, give load_model"),
        (lambda scene: hadgeo.detect(scene, "rx", bands=5, out=scene.with_name("x.tif")), "not 5"),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_words(
    call: Callable[[Path], Any], message: str, scene: Path
) -> None:
    with pytest.raises(hadgeo.errors.HadgeoError, match=message):
        call(scene)
