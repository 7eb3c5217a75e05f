"""Fusion: evidence is added, alternatives compete, and each part is what it would be alone."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import torch
import xarray as xr

import hadgeo
from hadgeo.compute.views import View
from hadgeo.detectors.composition import COMPOSITIONS, Part, Term, parse
from hadgeo.detectors.fusion import Fusion
from hadgeo.detectors.registry import make_detector
from hadgeo.detectors.tail_table import PowerTable
from hadgeo.errors import ParameterError
from hadgeo.run.model_file import Model, Spectrum, load_model, to_bytes
from hadgeo.sampling import Sample, Scene
from hadgeo.testing import LEARNED, DetectorContract, computing_threads, explained_in_windows, fitted
from hadgeo.windows import Window, pad
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, parts: str, progress: object = None) -> Fusion:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    detector = make_detector("fusion", {"parts": parts})
    return detector.fit(sample, device=CPU, **({} if progress is None else {"progress": progress}))


def alone(scene: np.ndarray, readers: Executor, name: str, **parameters: object) -> torch.Tensor:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return make_detector(name, parameters).fit(sample, device=CPU).score(torch.from_numpy(scene))


class TestThorough(DetectorContract):
    @pytest.fixture
    def detector(self) -> Fusion:
        return make_detector("fusion", {"parts": "bs3lnet + 0.5*rx(ridge=0.01) | rx@3 + ring_predictor"})


class TestAveragedBands(DetectorContract):
    @pytest.fixture
    def detector(self) -> Fusion:
        parts = "bs3lnet~3 | block_rx@3~2(block=4, margin=4) + rx@3(cfar_window=15) + kmeans~3(clusters=4)"
        return make_detector("fusion", {"parts": parts})

    def test_what_is_not_expected_of_a_target_is_its_signature(self, detector: Fusion) -> None:
        """Averaged bands show a signature that is broad; what changes from band to band is not in them."""
        scene = 300 + 100 * background((13, 40, 40))
        scene[:7, 20, 11] += 600
        detector = fitted(detector.shortened(LEARNED), scene)
        difference = scene - explained_in_windows(detector, scene, (64, 64))
        along = difference[:7].sum(axis=0) - difference[7:].sum(axis=0)
        assert np.argwhere(along == along.max()).tolist() == [[20, 11]]
        assert along.max() > 300 * 7


def test_a_part_sees_averaged_bands(readers: Executor) -> None:
    scene = background((9, 40, 50))
    view = View(bands=4)
    averaged = view.of(torch.from_numpy(scene))
    found = fit(scene, readers, "rx~4 + rx").contributions(torch.from_numpy(scene))
    scores = [alone(averaged.numpy(), readers, "rx"), alone(scene, readers, "rx")]
    np.testing.assert_allclose(found, torch.stack([PowerTable.of(s).evidence(s) for s in scores]), rtol=1e-6)


def test_what_is_expected_of_averaged_bands_is_told_for_each(readers: Executor) -> None:
    scene = background((9, 40, 50))
    fusion = fit(scene, readers, "rx@3 + bs3lnet~4(steps=3)")
    block = torch.from_numpy(scene)
    expected = fusion.explain(block)
    view = View(bands=4)
    network = fusion.detectors_[1].explain(view.of(block))
    assert expected is not None
    assert network is not None
    np.testing.assert_allclose(view.of(expected), network, rtol=1e-4, atol=1e-5)
    # What tells the bands of a group apart is left as it was measured.
    np.testing.assert_allclose(expected[1] - expected[0], scene[1] - scene[0], rtol=1e-4, atol=1e-5)


def test_is_the_weighted_sum_of_the_evidence_of_its_parts(readers: Executor) -> None:
    scene = background((5, 40, 50))
    found = fit(scene, readers, "2*rx(ridge=0.01) + ring_predictor").score(torch.from_numpy(scene))
    scores = [alone(scene, readers, "rx", ridge=0.01), alone(scene, readers, "ring_predictor")]
    expected = sum(w * PowerTable.of(s).evidence(s) for w, s in zip((2, 1), scores, strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_of_alternatives_the_strongest_counts(readers: Executor) -> None:
    scene = background((5, 40, 50))
    scene[:, 10:14, 10:14] += 0.15  # faint, but large
    scene[::2, 30, 40] += 1  # a single pixel
    both = fit(scene, readers, "rx | rx@3")
    counted = both.contributions(torch.from_numpy(scene))
    assert counted.shape == (2, 40, 50)
    assert (counted.amin(dim=0) == 0).all(), "only one of them counts"
    assert counted[0, 30, 40] > 0
    assert counted[1, 12, 12] > 0
    one = torch.stack([fit(scene, readers, part).score(torch.from_numpy(scene)) for part in ("rx", "rx@3")])
    np.testing.assert_allclose(both.score(torch.from_numpy(scene)), one.amax(dim=0), rtol=1e-9)


def test_the_parts_share_one_pass_over_the_scene(readers: Executor) -> None:
    scene = background((5, 40, 50))
    source = memory_source(scene)
    reads = 0
    read = source.read

    def counting(*window: object) -> np.ndarray:
        nonlocal reads
        reads += 1
        return read(*window)

    source.read = counting  # type: ignore[method-assign]
    make_detector("fusion", {"parts": "rx + subspace_rx + rxd_utd"}).fit(
        Sample(Scene(source, range(5)), executor=readers, device=CPU), device=CPU
    )
    assert reads == 2, "moments, and evidence"


@pytest.mark.parametrize("parts", ["bs3lnet@3 + rx(cfar_window=15)", "block_rx@5~3 + rx@3 + kmeans"])
def test_the_halo_is_cut_off_before_parts_score(parts: str, readers: Executor) -> None:
    cube = torch.from_numpy(background((9, 96, 80)))
    detector = fit(cube.numpy(), readers, parts)
    window = pad(Window(35, 32, 17, 9), detector.halo, (96, 80), detector.grid)
    block = cube[:, window.outer_rows, window.outer_cols]
    whole = detector.score(cube)[window.rows, window.cols]
    assert torch.equal(detector.score_inner(block, window.inner), whole)
    assert torch.equal(detector.score(block)[window.inner], whole)


def test_a_seed_goes_to_every_part_that_draws(readers: Executor) -> None:
    detector = make_detector("fusion", {"parts": "bs3lnet + scoread(seed=7) + rx", "seed": 3})
    assert [getattr(part.params, "seed", None) for part in detector.detectors_] == [3, 7, None]
    assert detector.training_steps == 500


def test_training_of_all_parts_is_one_stage(readers: Executor) -> None:
    log = Recorder()
    parts = "bs3lnet(steps=3) + rx + scoread(steps=4)"
    detector = fit(background((5, 30, 30)), readers, parts, log)
    assert len(detector.loss_) == 7
    assert log.stages["fit"] == [7, 7]


def test_a_model_gives_the_same_scores(tmp_path: Path) -> None:
    hadgeo.simulate(tmp_path / "line.img", rows=60, cols=50, bands=20, targets=2)
    parameters = {"parts": "bs3lnet(steps=3) + rx | rx@3"}
    hadgeo.train([tmp_path / "line.img"], "fusion", out=tmp_path / "m.hadgeo", parameters=parameters)
    fresh = hadgeo.detect(tmp_path / "line.img", "fusion", parameters=parameters, out=tmp_path / "fresh.tif")
    model = load_model(tmp_path / "m.hadgeo")
    assert model.detector.part_names == ("bs3lnet", "rx", "rx@3")
    kept = hadgeo.detect(tmp_path / "line.img", model, out=tmp_path / "kept.tif")
    with rasterio.open(fresh.path) as one, rasterio.open(kept.path) as other:
        assert one.read(1).tobytes() == other.read(1).tobytes()
        assert one.tags()["HADGEO_MODEL_HASH"] == other.tags()["HADGEO_MODEL_HASH"]


def test_parts_that_learned_the_same_are_kept_apart(readers: Executor) -> None:
    scene = background((6, 20, 20))
    sample = Sample(Scene(memory_source(scene), range(6)), executor=readers, device=CPU)
    fitted = make_detector("fusion", {"parts": "rx + utd + subspace_rx"}).fit(sample, device=CPU)
    assert to_bytes(Model(fitted, Spectrum(indices=tuple(range(6)), total=6)))


def test_threads_change_no_bit_of_what_parts_learn_of_averaged_bands() -> None:
    scene = background((150, 70, 60))
    learned = []
    for threads in (1, 2, 3):
        with computing_threads(threads):
            state = fitted(make_detector("fusion", {"preset": "fast"}), scene).state()
            learned.append({name: values.numpy().tobytes() for name, values in state.items()})
    assert learned[0] == learned[1] == learned[2]


def test_compositions_are_read_as_they_are_written() -> None:
    assert parse("bs3lnet+0.5 * rx(ridge = 1e-2,cfar_window=15) | rx @ 3") == (
        Term(1.0, (Part("bs3lnet"),)),
        Term(0.5, (Part("rx", (("ridge", "1e-2"), ("cfar_window", "15"))), Part("rx", view=View(side=3)))),
    )
    assert parse("rx @ 3 ~ 32(ridge=1)") == (Term(1.0, (Part("rx", (("ridge", "1"),), View(3, 32)),)),)
    for text in COMPOSITIONS.values():
        assert " + ".join(map(str, parse(text))) == text
        make_detector("fusion", {"parts": text})


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("", "no part of a fusion"),
        ("rx +", "no part of a fusion"),
        ("rx + | rx", "no part of a fusion"),
        ("rx | 2*rx@3", "no part of a fusion"),
        ("rx@2", "must be odd"),
        ("rx~1", "at least 2 bands"),
        ("rx~32@3", "no part of a fusion"),
        ("-1*rx", "must be a number from 1e-06"),
        ("nan*rx", "no part of a fusion"),
        ("rx(ridge)", "name=value"),
        ("rx(ridge=-1)", "ridge must be a number, at least 0"),
        ("rx(nothing=1)", "no parameter 'nothing'"),
        ("nothinglikeit", "no detector 'nothinglikeit'"),
        ("fusion", "cannot be part of a fusion"),
    ],
)
def test_bad_compositions_are_one_clear_line(parts: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words) as caught:
        make_detector("fusion", {"parts": parts})
    assert "\n" not in str(caught.value)


def test_presets_are_parameters_under_one_name() -> None:
    assert make_detector("fusion", {"preset": "fast"}).params.parts == COMPOSITIONS["fast"]
    assert make_detector("bs3lnet", {"preset": "paper", "steps": 7}).params.model_dump(exclude_defaults=True) == {
        "statistic": "mse",
        "steps": 7,
    }
    paper = make_detector("scoread", {"preset": "paper"}).params
    assert (paper.noise, paper.evaluations, paper.normalisation, paper.scaling) == ("independent", 100, "none", "cube")
    with pytest.raises(ParameterError, match="preset must be fast or standard or thorough, not 'paper'"):
        make_detector("fusion", {"preset": "paper"})
    with pytest.raises(ParameterError, match="no parameter 'preset'"):
        make_detector("rx", {"preset": "paper"})


def test_anomalies_say_which_parts_found_them(tmp_path: Path) -> None:
    hadgeo.simulate(tmp_path / "line.img", rows=60, cols=50, bands=20, targets=2)
    run = hadgeo.detect(tmp_path / "line.img", "fusion", parameters={"parts": "rx + ring_predictor | rx@3"})
    outputs = hadgeo.Outputs(evidence=tmp_path / "evidence.nc", polygons=tmp_path / "anomalies.gpkg")
    explain = partial(hadgeo.gather_evidence, tmp_path / "line.img", run.detector, bands=run.bands.indices)
    hadgeo.decide(run.path, hadgeo.Rule(pfa=1e-3), outputs, explain=explain)
    with xr.open_dataset(tmp_path / "evidence.nc") as evidence:
        evidence.load()
    assert evidence.part.values.tolist() == ["rx", "ring_predictor", "rx@3"]
    np.testing.assert_allclose(evidence.share.sum("part"), 1)
    best = evidence.isel(anomaly=0)
    assert str(best.top_parts.values).startswith(str(best.part.values[best.share.values.argmax()]))
    told = pyogrio.raw.read(tmp_path / "anomalies.gpkg", columns=["parts"])[3][0]
    assert told.tolist() == evidence.top_parts.values.tolist()


def test_two_parts_of_one_kind_are_told_apart() -> None:
    detector = make_detector("fusion", {"parts": "rx(ridge=0.1) + rx + rx@3(ridge=0.1)"})
    assert detector.part_names == ("rx(ridge=0.1)", "rx", "rx@3")
