"""ScoreAD is the network of the paper, reproduces the authors' map from their weights, and learns without labels."""

from __future__ import annotations

from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.io import loadmat
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from hadgeo.cube import open_cube, source_of
from hadgeo.detectors.score_network import ScoreNetwork, noise_std, released_names
from hadgeo.detectors.scoread import ScoreAD, ScoreADParams, nearest_neighbours
from hadgeo.errors import Cancelled, ModelError
from hadgeo.formats.matlab import read_truth
from hadgeo.sampling import Sample, Scene
from tests.support import Recorder, background, memory_source

CPU = torch.device("cpu")


def sample_of(scene: np.ndarray, readers: Executor) -> Sample:
    return Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)


def fitted(scene: np.ndarray, readers: Executor, **parameters: object) -> ScoreAD:
    params = ScoreADParams.model_validate({"steps": 4, "batch": 32, **parameters})
    return ScoreAD(params).fit(sample_of(scene, readers), device=CPU)


def size_of(network: ScoreNetwork) -> int:
    return sum(tensor.numel() for tensor in network.state_dict().values())


def test_parameter_count_is_the_papers() -> None:
    # The authors' network carries a modulation of gain and offset behind each of its six layers, five of them unused.
    unused = 2 * (16 + 32 + 64 + 32 + 16) * (162 + 3)
    assert size_of(ScoreNetwork(162, conditioned=True)) + unused == 464_179
    assert size_of(ScoreNetwork(162)) == 464_179 - unused - 2 * 256 * (162 + 3)


@pytest.mark.parametrize("bands", [1, 2, 6, 13, 40, 425])
@pytest.mark.parametrize("conditioned", [False, True])
def test_any_number_of_bands_goes_through(bands: int, conditioned: bool) -> None:
    network = ScoreNetwork(bands, conditioned=conditioned)
    condition = torch.zeros(3, bands + 2) if conditioned else None
    assert network(torch.zeros(3, bands), torch.tensor([0.05]), condition).shape == (3, bands)


def test_one_time_for_all_is_the_same_as_one_for_each() -> None:
    network, x = ScoreNetwork(13), torch.rand(5, 13)
    torch.testing.assert_close(network(x, torch.tensor([0.3])), network(x, torch.full((5,), 0.3)))


def test_noise_grows_as_in_the_paper() -> None:
    assert noise_std(torch.tensor(1.0)).item() == pytest.approx((24 / (2 * np.log(5))) ** 0.5)
    assert noise_std(torch.tensor(1e-6)).item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [
        {"evaluations": 3, "noise": "antithetic"},
        {"t": "0"},
        {"t": "0.05,2"},
        {"inner_window": 7, "outer_window": 7},
        {"cfar_window": 4},
    ],
)
def test_contradictory_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScoreADParams.model_validate(wrong)


def test_noise_times_are_numbers_or_text() -> None:
    for given in (0.05, "0.05", ["0.05"]):
        assert ScoreADParams.model_validate({"t": given}).t == (0.05,)
    assert ScoreADParams.model_validate({"t": "0.02, 0.05"}).t == (0.02, 0.05)


def test_the_nearest_neighbour_is_that_of_a_plain_search() -> None:
    scene = torch.from_numpy(background((5, 9, 8)))
    scene[:, 3, 4] = torch.nan
    scene[2, 0, 0] = torch.inf
    condition = nearest_neighbours(scene, ScoreADParams(inner_window=3, outer_window=5)).reshape(9, 8, 7)
    for row in range(9):
        for col in range(8):
            if not scene[:, row, col].isfinite().all():
                continue
            ring = [
                scene[:, y, x]
                for y in range(max(0, row - 2), min(9, row + 3))
                for x in range(max(0, col - 2), min(8, col + 3))
                if max(abs(y - row), abs(x - col)) == 2 and scene[:, y, x].isfinite().all()
            ]
            nearest = min(ring, key=lambda spectrum: float((spectrum - scene[:, row, col]).norm()))
            torch.testing.assert_close(condition[row, col, :5], nearest)
            torch.testing.assert_close(condition[row, col, 6], (nearest - scene[:, row, col]).norm())
            similarity = torch.cosine_similarity(nearest, scene[:, row, col], dim=0)
            torch.testing.assert_close(condition[row, col, 5], similarity)


def test_a_pixel_without_neighbours_has_an_empty_condition() -> None:
    assert not nearest_neighbours(torch.ones(3, 1, 1), ScoreADParams()).any()


@pytest.mark.parametrize(
    ("parameters", "halo"),
    [
        ({"normalisation": "none"}, 0),
        ({"normalisation": "cfar", "cfar_window": 15}, 7),
        ({"normalisation": "none", "condition": True, "outer_window": 7}, 3),
        ({"normalisation": "cfar", "cfar_window": 9, "condition": True, "outer_window": 7}, 7),
    ],
)
@pytest.mark.parametrize("noise", ["antithetic", "none"])
def test_the_halo_is_enough(parameters: dict[str, object], halo: int, noise: str, readers: Executor) -> None:
    scene = background((12, 28, 28))
    scene[:, 13, 3] = np.nan
    detector = fitted(scene, readers, noise=noise, **parameters)
    assert detector.halo == halo
    cube = torch.from_numpy(scene)
    whole = detector.score(cube)[11:16, 10:17]
    part = detector.score(cube[:, 11 - halo : 16 + halo, 10 - halo : 17 + halo])
    np.testing.assert_allclose(part[halo : halo + 5, halo : halo + 7], whole, rtol=1e-6)


def test_the_noise_is_shared_and_comes_in_pairs(readers: Executor) -> None:
    detector = fitted(background((6, 12, 12)), readers, noise="antithetic", evaluations=4)
    assert detector.noise_.shape == (4, 6)
    assert torch.equal(detector.noise_[:2], -detector.noise_[2:])


@pytest.mark.parametrize("parameters", [{}, {"condition": True}, {"normalisation": "none"}, {"scaling": "cube"}])
def test_fit_leaves_the_callers_chance_alone(parameters: dict[str, object], readers: Executor) -> None:
    state = torch.get_rng_state()
    fitted(background((6, 12, 12)), readers, **parameters)
    assert torch.equal(state, torch.get_rng_state())


def test_a_conditioned_fit_round_trips(readers: Executor) -> None:
    scene = background((6, 12, 12))
    detector = fitted(scene, readers, condition=True)
    again = ScoreAD(detector.params).load_state({k: v.clone() for k, v in detector.state().items()}, CPU)
    cube = torch.from_numpy(scene)
    assert torch.equal(detector.score(cube), again.score(cube))


def test_the_loss_falls_and_steps_are_counted(readers: Executor) -> None:
    recorder = Recorder()
    params = ScoreADParams(steps=60, batch=64, retain_ratio=0.9)
    detector = ScoreAD(params).fit(sample_of(background((13, 30, 30)), readers), device=CPU, progress=recorder)
    assert recorder.stages["fit"] == [60, 60]
    assert np.mean(detector.loss_[-10:]) < 0.6 * np.mean(detector.loss_[:10])


def test_fit_stops_when_asked(readers: Executor) -> None:
    with pytest.raises(Cancelled):
        ScoreAD().fit(sample_of(background((6, 12, 12)), readers), device=CPU, progress=Recorder(patience=3))


def test_a_file_that_is_no_release_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "wrong.pth"
    for content in ({"a": torch.ones(1)}, Path):
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"wrong\.pth"):
            ScoreAD.from_release(path)


def test_a_conditioned_release_loads(tmp_path: Path) -> None:
    network = ScoreNetwork(7, conditioned=True)
    names = released_names(network)
    torch.save({names[key]: value for key, value in network.state_dict().items()}, tmp_path / "released.pth")
    detector = ScoreAD.from_release(tmp_path / "released.pth", ScoreADParams(condition=True))
    assert detector.score(torch.rand(7, 9, 9)).isfinite().all()


@pytest.mark.data
@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
@pytest.mark.parametrize(
    ("params", "correlation"),
    [(None, 0.9), (ScoreADParams(normalisation="none"), 0.8)],
    ids=["release", "default-statistic"],
)
def test_the_authors_weights_give_the_authors_map(
    params: ScoreADParams | None, correlation: float, data_dir: Path
) -> None:
    path = data_dir / "truth/HYDICE_norm_ScoreAD.mat"
    source = source_of(open_cube(path))
    cube = torch.from_numpy(source.read(slice(0, 100), slice(0, 80), slice(0, 162)))
    detector = ScoreAD.from_release(data_dir / "scoread/HYDICE_norm_False_score_model.pth", params)
    scores = detector.score(cube).numpy().ravel()
    assert roc_auc_score(read_truth(path).ravel() > 0, scores) >= 0.9995
    published = loadmat(data_dir / "scoread/HYDICE_ScoreAD_result.mat")["SAD_result"].ravel()
    top = published > np.quantile(published, 0.99)
    assert spearmanr(scores[top], published[top])[0] >= correlation
