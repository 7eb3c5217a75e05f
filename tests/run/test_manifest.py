"""A manifest survives the disk, notices what changed, and never replaces somebody else's file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from hadgeo.errors import CubeError, CubeNotFoundError, OutputError, OutputExistsError
from hadgeo.run.manifest import Manifest, check_manifest, make_manifest, manifest_path, read_manifest, write_manifest


@pytest.fixture
def run(tmp_path: Path) -> Manifest:
    """A run that read two files and wrote one."""
    for name in ("scene.img", "scene.hdr", "scene_anomaly.tif"):
        (tmp_path / name).write_bytes(name.encode())
    return make_manifest(
        "detect",
        options={"scenes": ["scene.img"], "seed": None, "parameters": {"t": [0.05]}},
        inputs=[tmp_path / "scene.img", tmp_path / "scene.hdr"],
        outputs=[tmp_path / "scene_anomaly.tif"],
        facts={"bands": "1-7,9", "device": "cpu"},
        seconds={"fit": 1.23456, "score": 0.5},
        valid=1000,
    )


def test_it_survives_the_disk(run: Manifest, tmp_path: Path) -> None:
    write_manifest(run, tmp_path / "x.json")
    assert read_manifest(tmp_path / "x.json") == run
    assert not (tmp_path / "x.json.part").exists()


def test_it_tells_what_a_repetition_is_held_to(run: Manifest, tmp_path: Path) -> None:
    raw = json.loads(run.model_dump_json())
    assert raw["outputs"][0]["sha256"] == hashlib.sha256(b"scene_anomaly.tif").hexdigest()
    assert [item["bytes"] for item in raw["inputs"]] == [9, 9]
    assert raw["seconds"] == {"fit": 1.235, "score": 0.5}
    assert raw["pixels_per_second"] == pytest.approx(1000 / 1.73456, abs=0.1)
    assert raw["peak_memory_bytes"] > 10**7
    assert {"hadgeo", "python", "gdal", "torch"} <= raw["versions"].keys()


def test_changed_inputs_are_noticed(run: Manifest, tmp_path: Path) -> None:
    assert run.changed_inputs() == []
    os.utime(tmp_path / "scene.hdr", (1, 1))
    (tmp_path / "scene.img").unlink()
    assert run.changed_inputs() == [str(tmp_path / "scene.img"), str(tmp_path / "scene.hdr")]


def test_differing_outputs_are_noticed(run: Manifest, tmp_path: Path) -> None:
    assert run.differing_outputs(run) == []
    other = tmp_path / "again.tif"
    other.write_bytes(b"other bytes")
    made = make_manifest("detect", options={}, inputs=[], outputs=[other], facts={}, seconds={}, valid=0)
    assert run.differing_outputs(made) == [str(other)]


def test_only_manifests_are_replaced(run: Manifest, tmp_path: Path) -> None:
    output = tmp_path / "scene_anomaly.tif"
    path = manifest_path(output)
    assert path == tmp_path / "scene_anomaly.json"
    check_manifest(output, "detect", overwrite=False)
    write_manifest(run, path)
    check_manifest(output, "detect", overwrite=False)
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(OutputExistsError, match="not a hadgeo manifest"):
        check_manifest(output, "detect", overwrite=True)


def test_the_manifest_of_another_output_stays(run: Manifest, tmp_path: Path) -> None:
    output = tmp_path / "scene_anomaly.gpkg"
    write_manifest(run, manifest_path(output))
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError, match=r"of `hadgeo detect`, .*; give another name with --polygons"):
            check_manifest(output, "threshold", overwrite=overwrite, option="--polygons")
    with pytest.raises(OutputExistsError, match="use --overwrite, or give"):
        check_manifest(output, "detect", overwrite=False)
    check_manifest(output, "detect", overwrite=True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b'{"format": 1, "command": 3}', b"[" * 100_000])
def test_other_files_are_no_manifest(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CubeError, match="not a hadgeo manifest"):
        read_manifest(path)


def test_a_newer_manifest_asks_for_an_update(run: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**json.loads(run.model_dump_json()), "format": 2}))
    with pytest.raises(CubeError, match="update hadgeo"):
        read_manifest(path)


def test_a_missing_manifest_and_a_missing_folder_are_clear(run: Manifest, tmp_path: Path) -> None:
    with pytest.raises(CubeNotFoundError, match="no such manifest"):
        read_manifest(tmp_path / "none.json")
    with pytest.raises(OutputError, match="cannot be written"):
        write_manifest(run, tmp_path / "none" / "x.json")
