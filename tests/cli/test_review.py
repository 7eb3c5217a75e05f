"""What a person's verdicts are good for on the command line: precision, thresholds, searches, and what to leave out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner, Result
from rasterio.features import geometry_mask
from scipy.stats import beta

import hadgeo
from hadgeo import Review, Verdict
from hadgeo.cli import cli
from hadgeo.progress import Silent, Stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated line, its map, and polygons with the spectra of its anomalies."""
    path = tmp_path_factory.mktemp("line")
    hadgeo.simulate(path / "line.tif", rows=60, cols=50, bands=24, targets=6, seed=4)
    run("detect", path / "line.tif", "-d", "rx", "-o", path / "map.tif", "--top", 40, "--polygons", path / "found.gpkg")
    return path


@pytest.fixture
def found(folder: Path, tmp_path: Path) -> Path:
    """The polygons, to be reviewed."""
    path = tmp_path / "found.gpkg"
    path.write_bytes((folder / "found.gpkg").read_bytes())
    return path


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result


def reviewed(path: Path, words: str, order: Sequence[int] = range(1, 100)) -> Review:
    """Give anomalies, the strongest first, a verdict each, by its first letter; a dot for none."""
    names = {"a": "accepted", "r": "rejected", "u": "unsure"}
    said = {number: Verdict(names[word]) for number, word in zip(order, words, strict=False) if word != "."}
    Review(said).apply_to(path)
    return Review.read(path)


def scores_of(path: Path) -> dict[int, float]:
    from hadgeo.decisions.layers import read_layer

    table = read_layer(path).table
    return dict(zip(table["id"].tolist(), table["max_score"].tolist(), strict=True))


def test_precision_is_of_what_was_decided_and_of_the_strongest(folder: Path, found: Path) -> None:
    review = reviewed(found, "aur.ara")
    facts = json.loads(run("evaluate", folder / "map.tif", "--verdicts", found, "--json").stdout)
    assert facts["evaluations"] == []
    told = facts["review"]
    assert (told["accepted"], told["decided"], told["rejected"], told["unsure"]) == (3, 5, 2, 1)
    assert told["precision"] == 0.6
    assert told["not_looked_at"] == len(review.unseen) == len(review.ids) - 6
    # Wilson's interval lies within that of Clopper and Pearson, and has the share in it.
    low, high = told["interval"]
    assert beta.ppf(0.025, 3, 3) < low < 0.6 < high < beta.ppf(0.975, 4, 2)
    # 1, then 1, 3, 5, 6, 7: the unsure one and the one without a verdict do not count.
    assert [(one["first"], one["accepted"], one["precision"]) for one in told["first"]] == [(1, 1, 1.0), (5, 3, 0.6)]
    text = run("evaluate", folder / "map.tif", "--verdicts", found).stdout
    assert "3 accepted, 2 rejected, 1 unsure" in text
    assert "precision: 0.6 (3 of 5; 95 %: 0.231 to 0.882)" in text
    assert "precision of the first 5 decided" in text


def test_a_truth_and_verdicts_are_shown_together(folder: Path, found: Path) -> None:
    reviewed(found, "ar")
    words = ("evaluate", folder / "map.tif", folder / "line_truth.tif", "--verdicts", found, "--bootstrap", 0)
    facts = json.loads(run(*words, "--json").stdout)
    assert len(facts["evaluations"]) == 1
    assert facts["review"]["precision"] == 0.5
    assert "0.5 (1 of 2" in run(*words).stdout


@pytest.mark.parametrize(("wish", "words", "last"), [(1.0, "aar.a", 2), (0.75, "aara.", 4), (0.6, "aarar", 5)])
def test_the_threshold_is_the_lowest_of_the_precision_that_is_wanted(
    wish: float, words: str, last: int, folder: Path, found: Path, tmp_path: Path
) -> None:
    scores = scores_of(found)
    order = sorted(scores, key=lambda number: -scores[number])
    # The order of strength, in which they are numbered, is another one.
    assert order != sorted(order)
    reviewed(found, words, order)
    out = tmp_path / "fewer.gpkg"
    words = ("threshold", folder / "map.tif", "--verdicts", found, "--precision", wish, "--polygons", out, "--json")
    facts = json.loads(run(*words, "--progress", "json").stdout.splitlines()[-1])
    assert facts["threshold"] == scores[order[last - 1]]
    assert facts["review"]["precision"] >= wish
    assert len(Review.read(out).ids) >= last
    assert min(scores_of(out).values()) >= facts["threshold"]
    manifest = json.loads(out.with_suffix(".json").read_text())
    assert manifest["facts"]["review"]["decided"] == facts["review"]["decided"]
    assert str(found) in [record["path"] for record in manifest["inputs"]]


REFUSED: dict[str, tuple[str, tuple[object, ...], str]] = {
    "no threshold": ("rraar", ("--precision", 0.8), "the best is 0.5 (2 of 4; 95 %:"),
    "out of bounds": ("a", ("--precision", 80), "above 0 and at most 1"),
    "two rules": ("a", ("--precision", 0.8, "--pfa", 0.01), "--precision and --pfa"),
    "no wish": ("a", (), "--verdicts needs --precision"),
    "nothing decided": ("u", ("--precision", 0.8), "no anomaly was accepted or rejected yet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_threshold_that_verdicts_cannot_give_is_refused(case: str, folder: Path, found: Path) -> None:
    words, options, told = REFUSED[case]
    reviewed(found, words)
    result = run("threshold", folder / "map.tif", "--verdicts", found, *options, "--progress", "none", code=2)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_verdicts_without_scores_or_of_another_map_are_refused(folder: Path, found: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("id,verdict\n1,accepted\n")
    wish = ("--precision", 0.8, "--progress", "none")
    refused = run("threshold", folder / "map.tif", "--verdicts", bare, *wish, code=2)
    assert "no max_score of anomaly 1" in refused.stderr
    other = hadgeo.detect(folder / "line.tif", "rx", parameters={"shrinkage": 0.5}, out=tmp_path / "other.tif").path
    reviewed(found, "ar")
    for command in (("threshold", other, "--verdicts", found, *wish), ("evaluate", other, "--verdicts", found)):
        assert "a review of another map than" in run(*command, code=2).stderr
    assert "give a TRUTH, or --verdicts" in run("evaluate", other, code=2).stderr
    assert "compare maps with a TRUTH" in run("evaluate", other, "--verdicts", found, "--plot", "x.png", code=2).stderr
    refused = run("threshold", other, "--precision", 0.8, "--progress", "none", code=2)
    assert "--precision needs --verdicts" in refused.stderr


def test_what_is_like_any_accepted_anomaly_is_found_without_a_number(folder: Path, found: Path, tmp_path: Path) -> None:
    """The map is the largest of those of the accepted ones, by each method."""
    here = folder / "accepted.gpkg"
    here.write_bytes(found.read_bytes())
    reviewed(here, "aru..a")
    for method in ("ace", "mf", "cem", "sam"):
        maps = {}
        for which in ("", "#1", "#6"):
            out = tmp_path / f"{method}{which.strip('#')}.tif"
            words = ("match", folder / "line.tif", "--like", f"{here}{which}", "--method", method, "-o", out)
            result = run(*words, "--progress", "bar")
            maps[which] = hadgeo.open_scores(out).read(slice(0, 60), slice(0, 50))
            if not which:
                assert "2 accepted anomalies of accepted.gpkg" in result.stderr
                assert "any of anomalies 1, 6: a pixel has the score of the one that it is most like" in result.stderr
        np.testing.assert_allclose(maps[""], np.fmax(maps["#1"], maps["#6"]), rtol=1e-5, atol=1e-6)
        assert not np.allclose(maps["#1"], maps["#6"], rtol=1e-2)


def test_a_review_saved_under_another_name_leads_to_its_scene_by_its_map(folder: Path, found: Path) -> None:
    reviewed(found, "a")
    elsewhere = Review.read(found).write(folder / "found_review.geojson")
    spectra = [
        hadgeo.match(folder / "line.tif", like=f"{path}#1", out=folder / f"m{number}.tif").detector.params.target
        for number, path in enumerate((folder / "found.gpkg", elsewhere))
    ]
    np.testing.assert_allclose(*spectra)


def test_of_reviewed_polygons_only_accepted_ones_are_excluded(folder: Path, found: Path, tmp_path: Path) -> None:
    def learned(path: Path) -> tuple[int, str]:
        out = tmp_path / "x.tif"
        words = ("detect", folder / "line.tif", "-d", "rx", "-o", out, "--exclude", path, "--overwrite")
        told = run(*words, "--progress", "bar").stderr
        return json.loads(out.with_suffix(".json").read_text())["facts"]["learned_pixels"], told

    def pixels(ids: Sequence[int]) -> int:
        from hadgeo.decisions.layers import read_layer

        table = read_layer(found).table
        return int(table["pixels"][np.isin(table["id"], ids)].sum())

    every = Review.read(found).ids
    assert learned(found)[0] == 60 * 50 - pixels(every)
    reviewed(found, "aru..a")
    with closing(sqlite3.connect(found)) as database:
        # As QGIS keeps the style of a layer.
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, styleQML TEXT)")
        database.commit()
    left, told = learned(found)
    assert left == 60 * 50 - pixels((1, 6))
    assert f"outside the 2 accepted of {len(every)} polygons in found.gpkg" in told
    reviewed(found, "rru..r")
    words = ("detect", folder / "line.tif", "-d", "rx", "-o", tmp_path / "y.tif", "--exclude", found)
    assert "no anomaly was accepted" in run(*words, "--progress", "none", code=2).stderr


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet"])
def test_verdicts_are_not_overwritten(suffix: str, folder: Path, tmp_path: Path) -> None:
    found = tmp_path / f"found{suffix}"
    words = ("threshold", folder / "map.tif", "--polygons", found, "--overwrite", "--progress", "none")
    for _ in range(2):
        run(*words, "--top", 40)
    reviewed(found, "a.r")
    before = found.read_bytes()
    refused = run(*words, "--top", 40, code=2)
    assert "contains a person's verdicts on 2 anomalies, which would be lost" in refused.stderr
    assert found.read_bytes() == before
    assert "which this run needs" in run(*words, "--verdicts", found, "--precision", 0.5, code=2).stderr


@pytest.fixture(scope="module")
def rejecting(folder: Path) -> Path:
    """Polygons in which one anomaly was rejected, and another accepted."""
    path = folder / "rejecting.gpkg"
    path.write_bytes((folder / "found.gpkg").read_bytes())
    reviewed(path, "ra")
    return path


def spectra_of(folder: Path, path: Path, number: int) -> np.ndarray:
    """The mean spectrum of a polygon, by rasterio."""
    from hadgeo.decisions.layers import read_layer

    layer = read_layer(path)
    outline = layer.outlines[layer.table["id"].tolist().index(number)]
    cube = hadgeo.open_cube(folder / "line.tif")
    with rasterio.open(folder / "line.tif") as dataset:
        inside = geometry_mask([outline], (60, 50), dataset.transform, invert=True)
    return cube.values[:, inside].astype(float).mean(axis=1)


def alike(folder: Path, path: Path, angle: float) -> np.ndarray:
    """Pixels nearer than an angle to anomaly 1, and not nearer to anomaly 2."""
    values = hadgeo.open_cube(folder / "line.tif").values.astype(float)
    angles = []
    for number in (1, 2):
        known = spectra_of(folder, path, number)
        cosine = np.tensordot(known, values, 1) / np.linalg.norm(known) / np.linalg.norm(values, axis=0)
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    return (angles[0] <= angle) & (angles[0] <= angles[1])


def map_of(path: Path) -> np.ndarray:
    return hadgeo.open_scores(path).read(slice(0, 60), slice(0, 50))


def test_what_is_like_a_rejected_anomaly_gets_no_score(folder: Path, rejecting: Path, tmp_path: Path) -> None:
    expected = alike(folder, rejecting, 0.04)
    assert 1 <= expected.sum() < 1500
    like = ("--suppress-like", rejecting, "--suppress-angle", 0.04)
    whole, mask = tmp_path / "whole.tif", tmp_path / "mask.tif"
    result = run("detect", folder / "line.tif", "-d", "rx", "-o", whole, *like, "--suppressed-mask", mask)
    np.testing.assert_array_equal(np.isnan(map_of(whole)), expected)
    told = f"without {expected.sum():,} of rejected (within 0.04 rad of a rejected anomaly), which get no score either"
    assert told in result.stderr
    facts = json.loads(whole.with_suffix(".json").read_text())["facts"]
    assert facts["suppressed_pixels"] == {"rejected": expected.sum()}
    assert facts["learned_pixels"] == (~expected).sum()
    with rasterio.open(mask) as dataset:
        np.testing.assert_array_equal(dataset.read(1) == 4, expected)
    # In windows, by repetition, and with a model that knows nothing of it.
    run("detect", folder / "line.tif", "-d", "rx", "-o", tmp_path / "cut.tif", *like, "--window", 16)
    np.testing.assert_allclose(map_of(tmp_path / "cut.tif"), map_of(whole), rtol=1e-5)
    again = run(
        "detect",
        "--from",
        whole.with_suffix(".json"),
        "-o",
        tmp_path / "again.tif",
        "--suppressed-mask",
        mask,
        "--overwrite",
    )
    assert "identical, byte for byte" in again.stderr
    model = tmp_path / "m.hadgeo"
    run("train", folder / "line.tif", "-d", "rx", "-o", model)
    result = run("detect", folder / "line.tif", "--model", model, "-o", tmp_path / "by_model.tif", *like)
    np.testing.assert_array_equal(np.isnan(map_of(tmp_path / "by_model.tif")), expected)
    assert f"{expected.sum():,} of 3,000 pixels of" in result.stderr
    assert "get no score: " in result.stderr


def test_a_search_and_a_batch_leave_out_what_is_like_a_rejected_anomaly(
    folder: Path, rejecting: Path, tmp_path: Path
) -> None:
    expected = alike(folder, rejecting, 0.03)
    like = ("--suppress-like", rejecting)
    run("match", folder / "line.tif", "--like", f"{rejecting}#2", "-o", tmp_path / "match.tif", *like)
    np.testing.assert_array_equal(np.isnan(map_of(tmp_path / "match.tif")), expected)
    out = tmp_path / "maps"
    batch = ("batch", folder / "line.tif", "-o", out, "-d", "rx", *like)
    run(*batch)
    np.testing.assert_array_equal(np.isnan(map_of(out / "line_anomaly.tif")), expected)
    # What is there was made with the same spectra; with others it is another map.
    assert "line.tif: kept" in run(*batch).stderr
    assert (
        "exists, made with other settings" in run(*batch, "--suppress-angle", 0.02, "--fit-on", "each", code=1).output
    )


def test_a_resumed_run_has_to_suppress_the_same(folder: Path, rejecting: Path, tmp_path: Path) -> None:
    class Stop(Silent):
        """Stops after some windows."""

        stages: ClassVar[list[str]] = []
        windows = 0

        def stage(self, name: str, total: int) -> None:
            self.stages.append(name)

        def advance(self, n: int = 1) -> None:
            self.windows += self.stages[-1] == Stage.SCORE

        def cancelled(self) -> bool:
            return self.windows >= 3

    out, like = tmp_path / "x.tif", hadgeo.read_rejected(rejecting)
    whole = hadgeo.detect(folder / "line.tif", "rx", out=tmp_path / "y.tif", suppress_like=like, window=16)
    with pytest.raises(hadgeo.errors.Cancelled):
        hadgeo.detect(folder / "line.tif", "rx", out=out, suppress_like=like, window=16, progress=Stop())
    with pytest.raises(hadgeo.errors.OutputError, match="learned from"):
        hadgeo.detect(folder / "line.tif", "rx", out=out, window=16, resume=True)
    done = hadgeo.detect(folder / "line.tif", "rx", out=out, suppress_like=like, window=16, resume=True)
    assert done.windows_kept > 0
    assert done.path.read_bytes() == whole.path.read_bytes()
    assert done.suppressed == {"rejected": alike(folder, rejecting, 0.03).sum()}


def test_spectra_that_cannot_be_suppressed_are_refused(folder: Path, found: Path, tmp_path: Path) -> None:
    words = ("detect", folder / "line.tif", "-d", "rx", "-o", tmp_path / "x.tif", "--progress", "none")
    reviewed(found, "a")
    assert "no anomaly was rejected in it" in run(*words, "--suppress-like", found, code=2).stderr
    reviewed(found, "r")
    # Away from its map and its scene.
    assert "no manifest their scene" in run(*words, "--suppress-like", found, code=2).stderr
    assert "no such polygons" in run(*words, "--suppress-like", tmp_path / "none.gpkg", code=2).stderr
    angle = ("--suppress-like", found, "--suppress-angle", 3)
    assert "above 0 and below 1.57" in run(*words, *angle, code=2).stderr


def test_a_table_of_verdicts_is_refused_where_outlines_are_needed(folder: Path, found: Path, tmp_path: Path) -> None:
    Review({1: Verdict("accepted"), 2: Verdict("rejected")}).apply_to(found)
    table, scene = Review.read(found).write(tmp_path / "review.csv"), folder / "line.tif"
    detect = ("detect", scene, "-d", "rx", "-o", tmp_path / "x.tif")
    for words in (
        (*detect, "--exclude", table),
        (*detect, "--suppress-like", table),
        ("match", scene, "-o", tmp_path / "x.tif", "--like", table),
        ("report", scene, folder / "map.tif", table, "-o", tmp_path / "x.html"),
    ):
        assert "review.csv: a table has no outlines; give the polygons" in run(*words, code=2).stderr
    assert not (tmp_path / "x.tif").exists()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", [".gpkg", ".geojson"])
@pytest.mark.filterwarnings("ignore::hadgeo.errors.CubeWarning")
def test_verdicts_lead_to_spectra_in_a_scene_without_a_place(kind: str, tmp_path: Path) -> None:
    scene, layer = tmp_path / "flat.tif", tmp_path / f"found{kind}"
    with rasterio.open(scene, "w", driver="GTiff", width=30, height=40, count=8, dtype="float32") as dataset:
        values = np.random.default_rng(1).normal(1, 0.01, (8, 40, 30)).astype(np.float32)
        values[:, 31, 22] = values[:, 5, 9] = np.arange(1, 9)
        dataset.write(values)
    run("detect", scene, "-d", "rx", "-o", tmp_path / "map.tif", "--top", 2, "--grow-pfa", 0, "--polygons", layer)
    Review({1: Verdict("accepted"), 2: Verdict("rejected")}).apply_to(layer)
    for spectrum in hadgeo.read_rejected(layer).spectra:
        np.testing.assert_allclose(spectrum.values, np.arange(1, 9))


def test_verdicts_go_with_a_map_that_was_turned_north(tmp_path: Path) -> None:
    scene, scores, layer = (tmp_path / name for name in ("line.tif", "map.tif", "found.gpkg"))
    hadgeo.simulate(scene, rows=40, cols=30, bands=12, rotation=20, targets=4)
    run("detect", scene, "-d", "rx", "--north-up", "-o", scores, "--top", 12, "--polygons", layer)
    Review({1: Verdict("accepted")}).apply_to(layer)
    assert "precision: 1 (1 of 1" in run("evaluate", scores, "--verdicts", layer).output
