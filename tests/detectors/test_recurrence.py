"""Recurrence: what resembles anomalies at other places counts, and an object does not vouch for itself."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import pytest
import torch

from hadgeo.detectors.composition import COMPOSITIONS
from hadgeo.detectors.fusion import Fusion
from hadgeo.detectors.recurrence import Recurrence
from hadgeo.detectors.registry import list_detectors, make_detector, usable_detectors
from hadgeo.detectors.tail_table import ExponentialTable
from hadgeo.errors import FitError, ParameterError
from hadgeo.sampling import Sample, Scene
from hadgeo.testing import DetectorContract
from tests.support import background, memory_source

CPU = torch.device("cpu")


def fit(scene: np.ndarray, readers: Executor, parts: str = "rx + recurrence") -> Fusion:
    sample = Sample(Scene(memory_source(scene), range(scene.shape[0])), executor=readers, device=CPU)
    return make_detector("fusion", {"parts": parts}).fit(sample, device=CPU)


def evidence(scene: np.ndarray, readers: Executor, parts: str = "rx + recurrence") -> np.ndarray:
    """The evidence of the last part, (y, x)."""
    fusion = fit(scene, readers, parts)
    return fusion.tables_[-1].evidence(fusion.detectors_[-1].score(torch.from_numpy(scene))).numpy()


def cosines(scene: np.ndarray, fusion: Fusion) -> np.ndarray:
    """Cosines between whitened pixels (pixel) and exemplars, by the formula, (pixel, exemplar)."""
    recurrence = fusion.detectors_[-1]
    assert isinstance(recurrence, Recurrence)
    white = (scene.reshape(len(scene), -1).T.astype(float) - recurrence.mean_.numpy()) @ recurrence.whitening_.numpy().T
    return white / np.linalg.norm(white, axis=1, keepdims=True) @ recurrence.exemplars_.numpy().T


class TestAsAPart(DetectorContract):
    @pytest.fixture
    def detector(self) -> Fusion:
        return make_detector("fusion", {"parts": "2*rx + ring_predictor + recurrence~7(spacing=3)"})


def test_scores_are_the_second_largest_likeness(readers: Executor) -> None:
    scene = background((6, 50, 60))
    fusion = fit(scene, readers)
    found = fusion.detectors_[-1].score(torch.from_numpy(scene)).numpy()
    c = cosines(scene, fusion).clip(min=0)
    as_alike = np.array([[(c[:, k] >= value).mean() for value in c[:, k]] for k in range(c.shape[1])]).T
    expected = np.sort(c * -np.log(as_alike), axis=1)[:, -2]
    # Cosines count in steps of 1/1024.
    np.testing.assert_allclose(found.ravel(), expected, atol=0.05)


def test_what_resembles_an_exemplar_counts_less_where_much_does(readers: Executor) -> None:
    scene = background((10, 120, 120))
    rare, common = (-1.0) ** np.arange(10), (-1.0) ** (np.arange(10) // 2)
    scene[:, 10, 10::30] += 2 * rare[:, None]
    scene[:, 30::4, ::4] += 2 * common[:, None, None]
    found = evidence(scene, readers, "rx + recurrence(exemplars=16)")
    assert found[10, 10::30].min() > np.median(found[30::4, ::4])


def test_a_target_recurs_or_it_does_not(readers: Executor) -> None:
    """The score is the evidence of either sum, whichever is more; what does not recur has to be twice as rare."""
    scene = background((10, 90, 90))
    scene[:, 70, 45] += (-1.0) ** np.arange(10)
    block = torch.from_numpy(scene)
    fusion = fit(scene, readers, "rx + ring_predictor + 3*recurrence")
    each = [table.evidence(d.score(block)) for d, table in zip(fusion.detectors_, fusion.tables_, strict=True)]
    alone = each[0] + each[1]
    whole = alone + 3 * each[2]
    lone, again = (ExponentialTable.of(total).evidence(total) for total in (alone, whole))
    np.testing.assert_allclose(fusion.score(block), torch.maximum(lone - np.log(2), again), rtol=1e-5, atol=1e-6)
    counted = fusion.contributions(block)
    assert torch.equal(counted.sum(dim=0), fusion.score(block))
    assert counted[2, 70, 45] == 0, "nothing resembles it"
    apart = (lone - np.log(2) - again).abs() > 1e-5
    assert torch.equal((counted[2] > 0)[apart], ((lone - np.log(2) < again) & (each[2] > 0))[apart])


def test_the_background_is_that_of_the_scene_with_a_ridge(readers: Executor) -> None:
    scene = background((6, 50, 60))
    recurrence = fit(scene, readers, "rx + recurrence(ridge=0.5)").detectors_[-1]
    assert isinstance(recurrence, Recurrence)
    covariance = np.cov(scene.reshape(6, -1).astype(float))
    covariance += 0.5 * np.trace(covariance) / 6 * np.eye(6)
    np.testing.assert_allclose(recurrence.whitening_.T @ recurrence.whitening_, np.linalg.inv(covariance), rtol=1e-6)


def test_a_target_that_recurs_has_more_evidence_than_one_that_does_not(readers: Executor) -> None:
    scene = background((12, 90, 90))
    twin, lone = (-1.0) ** np.arange(12), (-1.0) ** (np.arange(12) // 2)
    for row, col in ((20, 20), (20, 70)):
        scene[:, row, col] += twin
    scene[:, 70, 45] += lone
    found = evidence(scene, readers)
    assert found[20, 20] > np.quantile(found, 0.995)
    assert found[20, 70] > np.quantile(found, 0.995)
    assert found[70, 45] < np.quantile(found, 0.95)


def test_parts_of_one_object_do_not_vouch_for_each_other(readers: Executor) -> None:
    scene = background((10, 90, 90))
    scene[:, 40:46, 40:46] += np.arange(10)[:, None, None] % 2
    assert evidence(scene, readers)[40:46, 40:46].max() < np.quantile(evidence(scene, readers), 0.97)
    close = evidence(scene, readers, "rx + recurrence(spacing=1)")
    assert close[40:46, 40:46].max() > np.quantile(close, 0.99), "unless they are taken for objects of their own"


def test_exemplars_are_the_strongest_pixels_as_far_apart_as_asked(readers: Executor) -> None:
    scene = background((6, 120, 100))
    fusion = fit(scene, readers, "rx + recurrence(spacing=10, exemplars=5, rare=1)")
    strength = fusion.detectors_[0].score(torch.from_numpy(scene)).numpy()
    places = [np.unravel_index(p, strength.shape) for p in cosines(scene, fusion).argmax(axis=0)]
    assert len(places) == 5
    assert places[0] == np.unravel_index(strength.argmax(), strength.shape)
    heights = [strength[place] for place in places]
    assert heights == sorted(heights, reverse=True)
    for number, (row, col) in enumerate(places):
        assert all(max(abs(row - r), abs(col - c)) > 10 for r, c in places[:number])


def test_no_more_exemplars_are_taken_than_there_are_rare_pixels(readers: Executor) -> None:
    counts = [
        len(
            fit(background((4, 100, 100)), readers, f"rx + recurrence(spacing=1, rare={rare})")
            .detectors_[-1]
            .exemplars_
        )
        for rare in (1e-4, 2e-3, 0.5)
    ]
    assert counts[0] == 8, "some are taken in any case"
    assert 8 < counts[1] <= 20
    assert counts[2] == 64


def test_where_there_is_no_other_place_nothing_recurs(readers: Executor) -> None:
    scene = background((4, 9, 9))
    block = torch.from_numpy(scene)
    fusion = fit(scene, readers)
    assert (fusion.detectors_[-1].score(block) == 0).all()
    # All pixels have as much evidence, so the others decide.
    assert torch.equal(
        fusion.score(block).flatten().argsort(), fit(scene, readers, "rx").score(block).flatten().argsort()
    )


def test_invalid_pixels_are_no_exemplars(readers: Executor) -> None:
    scene = background((4, 60, 60))
    scene[:, :30] = np.nan
    assert fit(scene, readers).detectors_[-1].exemplars_.isfinite().all()


@pytest.mark.parametrize(
    "parts", ["recurrence", "recurrence + rx", "rx | recurrence", "recurrence | rx", "rx + recurrence | local_rx"]
)
def test_it_stands_last(parts: str) -> None:
    with pytest.raises(ParameterError, match="recurrence looks at what all others find, so it must stand last"):
        make_detector("fusion", {"parts": parts})


def test_alone_it_is_refused(readers: Executor) -> None:
    sample = Sample(Scene(memory_source(background((4, 20, 20))), range(4)), executor=readers, device=CPU)
    with pytest.raises(FitError, match="make it the last part of a fusion"):
        make_detector("recurrence").fit(sample, device=CPU)


def test_it_is_no_detector_to_choose_and_a_part_of_every_preset() -> None:
    assert "recurrence" not in {*list_detectors(), *usable_detectors()}
    assert all(parts.endswith(" + 2*recurrence~32") for parts in COMPOSITIONS.values())
