"""Fitted detectors survive a file to the bit, and nothing else gets through one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import hadgeo
from hadgeo.detectors.registry import list_detectors, make_detector
from hadgeo.errors import BandError, CubeWarning, ModelError, OutputError, OutputExistsError
from hadgeo.formats.resampled import ResampledSource
from hadgeo.run import model_file
from hadgeo.run.model_file import Model, Spectrum, load_model, to_bytes
from hadgeo.run.selection import check_alike, match_bands
from hadgeo.testing import SHORT, fitted, scored_in_windows
from tests.support import background, examples, memory_source

SPECTRUM = Spectrum(indices=(0, 1, 2), total=3, wavelength=(500.0, 510.0, 520.0), fwhm=(12.0, 12.0, 12.0))


@pytest.fixture(scope="module")
def model_bytes() -> bytes:
    detector = make_detector("rx").load_state(
        {"mean": torch.ones(3).double(), "whitening": torch.eye(3).double(), "shrinkage": torch.tensor(0.0)},
        torch.device("cpu"),
    )
    return to_bytes(Model(detector, SPECTRUM, "int16", 1.0, ("line.img",)))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lines") / "line.img"
    hadgeo.simulate(path, rows=60, cols=50, bands=30, seed=1)
    return path


@pytest.mark.parametrize("name", list_detectors())
def test_every_detector_round_trips_to_the_bit(name: str, tmp_path: Path) -> None:
    scene = background((9, 30, 31))
    detector = fitted(make_detector(name).shortened(SHORT), scene)
    file = tmp_path / "m.hadgeo"
    spectrum = Spectrum(indices=tuple(range(9)), total=9)
    file.write_bytes(to_bytes(Model(detector, spectrum)))
    again = load_model(file)
    assert again.detector.params == detector.params
    assert again.spectrum == spectrum
    before, after = (scored_in_windows(d, scene, (16, 16)) for d in (detector, again.detector))
    assert before.tobytes() == after.tobytes()
    assert to_bytes(again) == file.read_bytes()


def _loads_as(file: Path) -> bytes | None:
    """The model in a file, written again; None where it is refused."""
    try:
        return to_bytes(load_model(file))
    except ModelError:
        return None


@settings(max_examples=examples(3), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_goes_unnoticed(model_bytes: bytes, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(model_bytes)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    file = tmp_path / "m.hadgeo"
    file.write_bytes(content)
    # Padding and the spelling of JSON may change without changing what is meant.
    assert _loads_as(file) in (None, model_bytes)


@given(st.binary(max_size=200))
@settings(max_examples=examples(2), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_foreign_bytes_are_no_model(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.hadgeo"
    file.write_bytes(content)
    with pytest.raises(ModelError):
        load_model(file)


class _Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "m.hadgeo"
    file.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelError, match="not a hadgeo model"):
        load_model(file)
    assert not (tmp_path / "exploded").exists()


def test_other_safetensors_are_no_model(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(3)}, file)
    with pytest.raises(ModelError, match="not a hadgeo model"):
        load_model(file)


def test_a_newer_format_asks_for_an_update(tmp_path: Path, model_bytes: bytes) -> None:
    file = tmp_path / "m.hadgeo"
    file.write_bytes(model_bytes)
    tensors = load_file(file)
    save_file(tensors, file, metadata={"hadgeo": json.dumps({"format_version": 99, "hadgeo_version": "9.0"})})
    with pytest.raises(ModelError, match="update hadgeo"):
        load_model(file)


def rewritten(tmp_path: Path, content: bytes, *, tensors: dict = {}, **changes: object) -> Path:  # noqa: B006 - read alone
    """A model file with other contents, and a hash that is true of them."""
    path = tmp_path / "changed.hadgeo"
    path.write_bytes(content)
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["hadgeo"])
    changed = {**load_file(path), **tensors}
    header = model_file._Header.model_validate({**header, **changes})
    signed = header.model_copy(update={"hash": model_file._digest(header, changed)})
    save_file(changed, path, metadata={"hadgeo": signed.model_dump_json()})
    return path


@pytest.mark.parametrize("values", [torch.ones(0), torch.ones(4)])
def test_tensors_that_do_not_fit_the_bands_are_refused(
    tmp_path: Path, model_bytes: bytes, values: torch.Tensor
) -> None:
    path = rewritten(tmp_path, model_bytes, tensors={"mean": values.double()})
    with pytest.raises(ModelError, match=r"changed\.hadgeo: its tensors are not those of rx") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changed", [{"fwhm": [12.0, 12.0]}, {"wavelength": [500.0]}, {"total": 2}, {"indices": [0, -1]}]
)
def test_a_spectrum_that_contradicts_itself_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Spectrum.model_validate({**SPECTRUM.model_dump(), **changed})


def test_a_network_larger_than_its_tensors_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = fitted(make_detector("bs3lnet", {"steps": 1}), background((9, 30, 31)))
    content = to_bytes(Model(detector, Spectrum(indices=tuple(range(9)), total=9)))
    larger = detector.params.model_copy(update={"channels": 1024, "blocks": 16}).model_dump(mode="json")
    path = rewritten(tmp_path, content, parameters=larger)
    monkeypatch.setattr(type(detector), "_make_network", lambda *_: pytest.fail("made a network"))
    with pytest.raises(ModelError, match="its tensors are not those of bs3lnet") as refused:
        load_model(path)
    # Torch names each of the many.
    assert len(str(refused.value)) < 500


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hadgeo train"):
        load_model(tmp_path / "none.hadgeo")


def test_bands_match_within_half_a_width() -> None:
    near = np.array([400.0, 505.0, 513.0, 524.0, 700.0])
    assert match_bands(SPECTRUM, 5, near, name="x").tolist() == [1, 2, 3]
    with pytest.raises(ModelError, match=r"520\.0 nm, whose nearest is 513\.0 nm"):
        match_bands(SPECTRUM, 4, np.array([400.0, 500.0, 513.0, 900.0]), name="x")


def test_two_bands_never_share_one_of_the_scene() -> None:
    with pytest.raises(ModelError):
        match_bands(SPECTRUM, 2, np.array([505.0, 516.0]), name="x")


def test_without_wavelengths_the_number_of_bands_decides() -> None:
    assert match_bands(SPECTRUM, 3, None, name="x").tolist() == [0, 1, 2]
    with pytest.raises(ModelError, match="4 bands, but the model was fitted to a cube of 3"):
        match_bands(SPECTRUM, 4, None, name="x")


def test_resampling_is_linear_and_never_extrapolates() -> None:
    wavelength = np.array([400.0, 500.0, 600.0, 700.0])
    cube = xr.DataArray(
        np.stack([np.full((3, 4), value, dtype=np.float32) for value in (0, 10, 99, 30)]),
        dims=("band", "y", "x"),
        coords={"wavelength": ("band", wavelength)},
    )
    source = memory_source(cube.to_numpy())
    with pytest.raises(BandError, match="without wavelengths"):
        ResampledSource(source, np.array([450.0]))
    source = hadgeo.cube.source_of(cube)
    good = np.array([True, True, False, True])
    resampled = ResampledSource(source, np.array([400.0, 425.0, 600.0, 700.0]), good)
    block = resampled.read(slice(0, 3), slice(1, 3))
    assert block.shape == (4, 3, 2)
    np.testing.assert_allclose(block[:, 0, 0], [0, 2.5, 20, 30])
    np.testing.assert_allclose(resampled.read(slice(0, 1), slice(0, 1), np.array([2, 1]))[:, 0, 0], [20, 2.5])
    with pytest.raises(BandError, match="bands are never extrapolated"):
        ResampledSource(source, np.array([399.0]))


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        scores: np.ndarray = dataset.read(1)
    return scores


@pytest.mark.parametrize(("name", "parameters"), [("rx", {}), ("bs3lnet", {"steps": 4, "crop": 24})])
def test_a_model_scores_as_the_fit_it_came_from(line: Path, tmp_path: Path, name: str, parameters: dict) -> None:
    model = hadgeo.train([line], name, parameters=parameters, out=tmp_path / "m.hadgeo")
    direct = hadgeo.detect(line, name, parameters=parameters, out=tmp_path / "a.tif")
    applied = hadgeo.detect(line, model, out=tmp_path / "b.tif")
    assert read(direct.path).tobytes() == read(applied.path).tobytes()
    assert "fit" not in applied.seconds
    assert (len(model.loss) == 4) == (name == "bs3lnet")
    assert model.scenes == ("line.img",)


def test_several_scenes_are_one_background(tmp_path: Path) -> None:
    scene = background((6, 40, 30))
    halves = [xr.DataArray(part, dims=("band", "y", "x")) for part in (scene[:, :25], scene[:, 25:])]
    both = hadgeo.train(halves, "rx", out=tmp_path / "both.hadgeo").detector.state()
    whole = hadgeo.train(
        [xr.DataArray(scene, dims=("band", "y", "x"))], "rx", out=tmp_path / "one.hadgeo"
    ).detector.state()
    np.testing.assert_allclose(both["mean"], whole["mean"], rtol=1e-12)
    np.testing.assert_allclose(both["whitening"], whole["whitening"], rtol=1e-6)


def test_another_sensor_is_refused_and_resampled_on_request(line: Path, tmp_path: Path) -> None:
    model = hadgeo.train([line], "rx", bands="500-1200", out=tmp_path / "m.hadgeo")
    other = tmp_path / "other.img"
    hadgeo.simulate(other, rows=40, cols=30, bands=12, targets=3, seed=2)
    with pytest.raises(ModelError, match="--resample-bands"):
        hadgeo.detect(other, model, out=tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()
    done = hadgeo.detect(other, model, out=tmp_path / "x.tif", resample_bands=True)
    assert np.isfinite(read(done.path)).all()


def test_another_scale_is_warned_of(line: Path, tmp_path: Path) -> None:
    model = hadgeo.train([line], "rx", out=tmp_path / "m.hadgeo")
    cube = hadgeo.open_cube(line)
    with pytest.warns(CubeWarning, match="scale factor"):
        hadgeo.detect((cube * 10_000).assign_attrs(cube.attrs), model, out=tmp_path / "x.tif")


def test_bands_with_little_data_are_not_taken_for_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = background((2, 400, 10))
    scene[1, np.arange(400) != 133] = np.nan
    monkeypatch.setattr("hadgeo.run.selection._GLANCE_BYTES", 2 * 4 * 10 * 16)
    check_alike(memory_source(scene), [0, 1], 0.0)
    scene[1] = np.nan
    with pytest.raises(ModelError, match="1 of the 2 bands of the model contain no data"):
        check_alike(memory_source(scene), [0, 1], 0.0)


@pytest.mark.parametrize("name", ["bs3lnet", "scoread"])
def test_runs_with_one_model_share_no_network(name: str) -> None:
    detector = fitted(make_detector(name).shortened(SHORT), background((6, 24, 24)))
    state = {key: value.clone() for key, value in detector.state().items()}
    again = type(detector)(detector.params).load_state(detector.state(), torch.device("cpu"))
    assert all(again.state()[key].equal(value) for key, value in state.items())
    for value in again.state().values():
        value.zero_()
    assert all(detector.state()[key].equal(value) for key, value in state.items() if key.startswith("network."))


def test_nothing_is_overwritten_unasked(line: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.hadgeo"
    out.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        hadgeo.train([line], "rx", out=out)
    assert out.read_bytes() == b"precious"
    before = line.read_bytes()
    with pytest.raises(OutputError, match="is a scene"):
        hadgeo.train([line], "rx", out=line, overwrite=True)
    assert line.read_bytes() == before
    with pytest.raises(OutputError, match="no scene"):
        hadgeo.train([], "rx", out=tmp_path / "n.hadgeo")


def test_a_fit_that_diverged_replaces_nothing(tmp_path: Path) -> None:
    out = tmp_path / "m.hadgeo"
    cube = xr.DataArray(background((5, 30, 30)), dims=("band", "y", "x"))
    hadgeo.train([cube], "rx", out=out)
    before = out.read_bytes()
    absurd = {"learning_rate": 1.0, "steps": 60, "crop": 8}
    cube = cube.copy(data=background((5, 30, 30)) * np.float32(1e18))
    cube[:, 3, 3] = 3e38
    with pytest.raises(hadgeo.errors.HadgeoError, match="diverged"):
        hadgeo.train([cube], "bs3lnet", parameters=absurd, out=out, overwrite=True)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.hadgeo"]


def test_later_scenes_are_checked_like_the_first(line: Path, tmp_path: Path) -> None:
    cube = hadgeo.open_cube(line).load()
    empty = cube.copy(data=cube.to_numpy().copy())
    empty[7] = np.nan
    with pytest.raises(ModelError, match="contain no data"):
        hadgeo.train([cube, empty], "rx", out=tmp_path / "m.hadgeo")
    with pytest.warns(CubeWarning, match="scale factor"):
        hadgeo.train([cube, (cube * 1e4).assign_attrs(cube.attrs)], "rx", out=tmp_path / "m.hadgeo")
