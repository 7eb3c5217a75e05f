"""The built zip, installed into a clean profile, in real qgis_process runs; and a QGIS that is killed."""

import configparser
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, environment, process, qgis_process
from osgeo import gdal


def run(home, name, *, code=0, **parameters):
    """Run an algorithm; return its results, and all that was said."""
    words = [f"{key}={value}" for key, value in parameters.items()]
    done = process(home, "--json", "run", f"hadgeo:{name}", "--", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    start = done.stdout.find("{")
    return (json.loads(done.stdout[start:]) if code == 0 else {}), done.stdout + done.stderr


def test_the_zip_holds_what_plugins_qgis_org_asks_for(release):
    with zipfile.ZipFile(release) as archive:
        names = archive.namelist()
        metadata = configparser.ConfigParser(interpolation=None)
        metadata.read_string(archive.read("hadgeo_qgis/metadata.txt").decode())
        licence = archive.read("hadgeo_qgis/LICENSE").decode()
        python = [archive.read(name).decode() for name in names if name.endswith(".py")]
    general = metadata["general"]
    assert release.name == f"hadgeo_qgis-{general['version']}.zip"
    assert {name.split("/")[0] for name in names} == {"hadgeo_qgis"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    for key in ("name", "description", "about", "author", "email", "tags", "changelog", "tracker", "repository"):
        assert general[key].strip(), key
    assert (general["qgisMinimumVersion"], general["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert general["hasProcessingProvider"] == "yes"
    assert f"hadgeo_qgis/{general['icon']}" in names
    assert "GNU GENERAL PUBLIC LICENSE" in licence
    assert not any("import hadgeo\n" in text or "from hadgeo." in text for text in python)
    wheels = sorted(name.split("/")[-1].split("-")[0] for name in names if name.endswith(".whl"))
    assert wheels == ["hadgeo", "pip"]


def refusals(file):
    """What the project's own check of the zip says, with bandit and detect-secrets of this environment."""
    command = [sys.executable, str(ROOT / ".ci" / "plugin_check.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout.splitlines()[:-1] if done.returncode == 0 else done.stdout.splitlines()


def test_the_zip_has_nothing_that_plugins_qgis_org_would_refuse(release):
    assert refusals(release) == []


def changed(release, folder, files):
    """The zip with other files in it."""
    made = folder / release.name
    with zipfile.ZipFile(release) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename not in files:
                new.writestr(entry, old.read(entry))
        for name, data in files.items():
            new.writestr(name, data)
    return made


def test_what_plugins_qgis_org_would_refuse_is_noticed(release, tmp_path):
    mistakes = {
        "hadgeo_qgis/run.sh": b"echo\n",
        "hadgeo_qgis/__pycache__/x.txt": b"x",
        "other/x.txt": b"x",
        "hadgeo_qgis/data.bin": b"\xff\xfe\x00",
        "hadgeo_qgis/wheels/more-1.0-py3-none-any.whl": b"PK",
        "hadgeo_qgis/x.py": b'eval(input())\nkey = "AKIA' + b'IOSFODNN7EXAMPLF"\n',
        "hadgeo_qgis/metadata.txt": b"[general]\nname=QGIS plugin\nicon=none.png\ntracker=here\n",
    }
    said = "\n".join(refusals(changed(release, tmp_path, mistakes)))
    for words in (
        "run.sh may not be in a plugin",
        "__pycache__/x.txt may not be in a plugin",
        "not one folder",
        "data.bin is neither text nor",
        "more-1.0-py3-none-any.whl is not explained",
        "bandit: ",
        "detect-secrets: ",
        "metadata.txt has no about",
        "the icon none.png is missing",
        "tracker is no address",
        "name says what is known",
    ):
        assert words in said
    large = changed(release, tmp_path, {"hadgeo_qgis/icons/large.png": os.urandom(26_000_000)})
    assert "MB are more than 25" in refusals(large)[0]


def test_the_plugin_works_in_a_clean_profile_from_scene_to_map(profile, scene, tmp_path):
    out = tmp_path / "größer.tif"
    told, said = run(profile, "detect", INPUT=scene, DETECTOR="rx", OUTPUT=out)
    assert told["results"]["OUTPUT"] == str(out)
    made, source = gdal.Open(str(out)), gdal.Open(scene)
    assert made.GetGeoTransform() == source.GetGeoTransform()
    assert made.GetProjection() == source.GetProjection()
    assert out.with_suffix(".qml").is_file()
    assert "device: cpu" in said


def test_san_diego(profile, tmp_path):
    folder = Path(os.environ.get("HADGEO_DATA", ROOT.parent / "shared" / "data"))
    file = folder / "geo" / "sandiego_aviris1_utm11_nad27.tif"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {folder}; set HADGEO_DATA to the folder of real scenes")
    out = tmp_path / "scores.tif"
    run(profile, "detect", INPUT=file, DETECTOR="rx", BANDS="all", OUTPUT=out)
    made = gdal.Open(str(out))
    assert made.GetGeoTransform() == gdal.Open(str(file)).GetGeoTransform()
    truth = gdal.Open(str(file.with_name("sandiego_aviris1_gtGCL.tif"))).ReadAsArray() > 0
    scores = made.ReadAsArray()
    # The published area under the ROC curve of global RX on all bands.
    area = (scores[truth][:, None] > scores[~truth][None, :]).mean()
    assert area == pytest.approx(0.8736, abs=5e-5)


def test_a_missing_backend_is_said_by_qgis_process_too(profile, scene, tmp_path):
    done = process(
        profile, "run", "hadgeo:detect", "--", f"INPUT={scene}", f"OUTPUT={tmp_path / 'x.tif'}", HADGEO_PYTHON=""
    )
    assert done.returncode == 1
    assert "Set up the backend" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_bad_scene_is_one_line(profile, tmp_path):
    (tmp_path / "notes.tif").write_text("no raster")
    _, said = run(profile, "detect", code=1, INPUT=tmp_path / "notes.tif", OUTPUT=tmp_path / "x.tif")
    assert "notes.tif" in said or "INPUT" in said
    assert [path.name for path in tmp_path.iterdir()] == ["notes.tif"]


def workers_of(parent):
    """Processes of the backend that were started by another process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text().rsplit(")", 1)[1].split()
            command = status.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if words[1] == str(parent) and b"hadgeo.worker" in command and words[0] != "Z":
            found.append(int(status.parent.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_the_child_is_gone_soon_after_qgis_was_killed(profile, scene, tmp_path):
    words = [f"INPUT={scene}", "DETECTOR=bs3lnet", "BS3LNET_STEPS=1000000", f"OUTPUT={tmp_path / 'x.tif'}"]
    command = [qgis_process(), "run", "hadgeo:detect", "--", *words]
    with subprocess.Popen(
        command, env=environment(profile), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as qgis:
        end = time.monotonic() + 60
        while not workers_of(qgis.pid) and time.monotonic() < end:
            time.sleep(0.2)
        (worker,) = workers_of(qgis.pid)
        # Well into the fit.
        time.sleep(6)
        assert alive(worker)
        qgis.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        while alive(worker) and time.monotonic() - begin < 30:
            time.sleep(0.05)
        assert time.monotonic() - begin < 25
    assert not list(tmp_path.iterdir())
