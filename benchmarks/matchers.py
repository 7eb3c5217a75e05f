"""How well each method of `hadgeo match` finds materials that fill a part of a pixel of a simulated scene.

With --data, how much a ridge helps where the target is one noisy pixel of a real scene.

python benchmarks/matchers.py
python benchmarks/matchers.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from sklearn.metrics import roc_auc_score

import hadgeo
from hadgeo.cube import as_source
from hadgeo.errors import CubeWarning
from hadgeo.formats.matlab import read_truth
from hadgeo.run.matching.search import Search, target_of
from hadgeo.simulation.spectra import _GRID, TARGETS

METHODS = [("ace", {}), ("ace", {"one_sided": False}), ("mf", {}), ("cem", {}), ("sam", {})]

#: Of the pixel that the target fills, and pixels that it is planted in.
SHARES, PLACES = (0.05, 0.15, 0.5), 60


#: Scenes and their truths.
REAL = [
    ("geo/sandiego_aviris1_utm11_nad27.tif", "geo/sandiego_aviris1_gtGCL.tif"),
    *((name, name) for name in ("truth/abu-airport-1.mat", "truth/abu-urban-1.mat", "truth/HYDICE-II_BS3LNet.mat")),
]

RIDGES = (0.0, 0.001, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder of real scenes")
    data = parser.parse_args().data
    if data is not None:
        noisy_targets(data)
    else:
        planted_targets()


def noisy_targets(data: Path) -> None:
    print("scene", *(f"ridge {ridge:g}" for ridge in RIDGES), sep=" | ")
    found = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for scene, truth_file in REAL:
            cube = hadgeo.open_cube(data / scene)
            if truth_file.endswith(".mat"):
                truth = read_truth(data / truth_file)
            else:
                with rasterio.open(data / truth_file) as opened:
                    truth = opened.read(1) > 0
            targets = np.argwhere(truth)
            row, col = targets[len(targets) // 2]
            others = np.ones(truth.shape, dtype=bool)
            others[row, col] = False
            areas = []
            for ridge in RIDGES:
                out = Path(folder) / "match.tif"
                pixel = cube.isel(y=int(row), x=int(col))
                hadgeo.match(cube, pixel, parameters={"ridge": ridge}, out=out, overwrite=True)
                scores = np.concatenate([strip for _, strip in hadgeo.open_scores(out).strips()])
                areas.append(roc_auc_score(truth[others], scores[others]))
            found.append(areas)
            print(Path(scene).stem, *(f"{area:.4f}" for area in areas), sep=" | ")
    print("mean", *(f"{mean:.4f}" for mean in np.mean(found, axis=0)), sep=" | ")


def planted_targets() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CubeWarning)
        home = Path(folder)
        hadgeo.simulate(home / "line.img", rows=200, cols=200, bands=60, targets=30, seed=3)
        cube = hadgeo.open_cube(home / "line.img").compute()
        print("share", *(f"{name}{'' if given == {} else ' two-sided'}" for name, given in METHODS), sep=" | ")
        for share in SHARES:
            found = np.array([_areas(home, cube, material, share, rng) for material in TARGETS])
            print(f"{share:.0%}", *(f"{mean:.3f}" for mean in found.mean(axis=0)), sep=" | ")


def _areas(home: Path, cube, material, share: float, rng: np.random.Generator) -> list[float]:
    """AUC of each method for one material."""
    spectrum = home / "target.txt"
    np.savetxt(spectrum, np.c_[_GRID, material.reflectance()])
    detector, bands = Search(target_of(spectrum)).detector_for(as_source(home / "line.img"))
    target = np.zeros(cube.shape[0])
    target[list(bands.indices)] = detector.params.target
    planted, truth = cube.copy(deep=True), np.zeros(cube[0].size, dtype=bool)
    pixels = rng.choice(truth.size, PLACES, replace=False)
    truth[pixels] = True
    values = planted.values.reshape(cube.shape[0], -1)
    values[:, pixels] = (1 - share) * values[:, pixels] + share * target[:, None]
    areas = []
    for method, given in METHODS:
        done = hadgeo.match(planted, spectrum, method=method, parameters=given, out=home / "match.tif", overwrite=True)
        scores = np.concatenate([strip for _, strip in hadgeo.open_scores(done.path).strips()])
        areas.append(roc_auc_score(truth, scores.ravel()))
    return areas


if __name__ == "__main__":
    main()
