"""Set up the backend, as a stranger meets it: in QGIS's window, with QGIS's proxy and certificates, and for real."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import BACKEND, QGIS, ROOT, enabled, environment, in_window, process
from hadgeo_qgis import backend, connection
from qgis.core import QgsApplication, QgsAuthMethodConfig, QgsSettings


@pytest.fixture
def proxy(qgis_app):
    """Sets entries of QGIS's proxy, and takes them away afterwards."""
    settings = QgsSettings()

    def choose(**entries):
        for name, value in {"proxyEnabled": True, "proxyType": "HttpProxy", **entries}.items():
            settings.setValue(f"proxy/{name}", value)

    yield choose
    settings.remove("proxy")


def test_without_a_proxy_in_qgis_the_environment_has_the_word(proxy, tmp_path):
    for entries in ({}, {"proxyEnabled": False, "proxyHost": "proxy.example"}, {"proxyType": "DefaultProxy"}):
        proxy(**entries)
        assert not [name for name in connection.variables(tmp_path / "c.pem") if "proxy" in name.lower()]


def test_the_proxy_of_qgis_is_taken_with_its_password_and_its_exceptions(proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "10.0.0.1")
    more = {"proxyUser": "me@firm", "proxyPassword": "a:b/c", "noProxyUrls": ["http://intranet.example/maps", "other"]}
    proxy(proxyHost="proxy.example", proxyPort="3128", **more)
    found = connection.variables(tmp_path / "c.pem")
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        address = urlsplit(found[name])
        assert (address.scheme, address.hostname, address.port) == ("http", "proxy.example", 3128)
        assert (address.username, address.password) == ("me%40firm", "a%3Ab%2Fc")
    assert found["NO_PROXY"] == "intranet.example,other,10.0.0.1"


def test_the_password_of_a_proxy_comes_from_qgis_authentication(proxy, tmp_path):
    manager = QgsApplication.authManager()
    if manager.isDisabled() or not manager.setMasterPassword("master", True):
        pytest.skip("this QGIS keeps no passwords")
    kept = QgsAuthMethodConfig("Basic")
    kept.setName("proxy")
    kept.setConfigMap({"username": "me", "password": "kept"})
    assert manager.storeAuthenticationConfig(kept)
    proxy(proxyHost="proxy.example", authcfg=kept.id())
    address = urlsplit(connection.variables(tmp_path / "c.pem")["HTTPS_PROXY"])
    assert (address.username, address.password) == ("me", "kept")


def test_a_proxy_that_pip_cannot_use_is_refused(proxy, tmp_path):
    proxy(proxyType="Socks5Proxy", proxyHost="proxy.example")
    with pytest.raises(backend.BackendError, match="SOCKS"):
        connection.variables(tmp_path / "c.pem")


def test_certificates_are_those_that_qgis_and_the_environment_trust(qgis_app, tmp_path, monkeypatch):
    own = tmp_path / "own.pem"
    own.write_text("-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n")
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    trusted = bytes(QgsApplication.authManager().trustedCaCertsPemText()).decode()
    found = connection.variables(tmp_path / "profile" / "c.pem")
    if not trusted.strip():
        pytest.skip("this QGIS trusts nobody")
    text = Path(found["PIP_CERT"]).read_text()
    assert text.count("BEGIN CERTIFICATE") == trusted.count("BEGIN CERTIFICATE") + 1
    assert "\nours\n" in text
    assert found["SSL_CERT_FILE"] == found["REQUESTS_CA_BUNDLE"] == found["PIP_CERT"]


def unused_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def fresh(release, tmp_path):
    """A profile of a stranger: the plugin from its zip, and nothing else."""
    return enabled(release, tmp_path / "home")


def set_up(home, *words, code=0, before=(), timeout=1500):
    command = [*before, *qgis_command(), "run", "hadgeo:setupbackend", "--", *words]
    env = environment(home, HADGEO_PYTHON="")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def qgis_command():
    return [shutil.which("qgis_process.bin") or shutil.which("qgis_process")]


def test_a_proxy_of_qgis_that_is_not_there_is_the_cause_that_is_named(fresh):
    with (fresh / "profiles" / "default" / "QGIS" / "QGIS3.ini").open("a") as file:
        file.write(
            f"\n[proxy]\nproxyEnabled=true\nproxyType=HttpProxy\nproxyHost=127.0.0.1\nproxyPort={unused_port()}\n"
        )
        file.write("proxyUser=me\nproxyPassword=s3cret\n")
    said = set_up(fresh, "TORCH=cpu", code=1)
    assert "not set up: Proxy: " in said
    assert "Settings, Options, Network" in said
    assert "s3cret" not in said
    assert "to download" in said
    assert not (fresh / "profiles" / "default" / "hadgeo" / "backend").exists()


@pytest.mark.skipif(not (QGIS and shutil.which("xvfb-run")), reason="needs QGIS's window and xvfb")
@pytest.mark.skipif("QGIS_PREFIX_PATH" in os.environ, reason="the window would be that of another QGIS")
def test_the_first_start_in_the_window_of_qgis(tmp_path):
    seen = in_window("first_start.py", tmp_path, without=["HADGEO_PYTHON"], HADGEO_BACKEND=BACKEND)
    assert seen["toolbar"] == ["Detect anomalies…", "Review anomalies"]
    assert seen["menu"] == ["Detect anomalies…", "Review anomalies", "Set up the backend…"]
    assert len(seen["first"]) == len(seen["second"]) == len(seen["during"]) == 1
    assert "MB to download" in seen["first"][0]
    assert seen["dialogs"] == ["Set up the backend"]
    assert seen["warnings"] == 0
    assert seen["after"] == []
    assert seen["detect"] == ["Detect anomalies"]


def first_scores(home, tmp_path):
    """What a stranger does next."""
    words = [f"OUTPUT={tmp_path / 'scene.tif'}", "ROWS=64", "COLS=64", "BANDS=30"]
    for name, parameters in (
        ("simulate", words),
        ("detect", [f"INPUT={tmp_path / 'scene.tif'}", "DETECTOR=rx", f"OUTPUT={tmp_path / 'scores.tif'}"]),
    ):
        done = process(home, "run", f"hadgeo:{name}", "--", *parameters, HADGEO_PYTHON="")
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "scores.tif").is_file()


def packages_of(home):
    python = home / "profiles" / "default" / "hadgeo" / "backend" / "bin" / "python"
    said = subprocess.run([python, "-I", "-m", "pip", "list", "--format", "json"], capture_output=True, check=True)
    return {entry["name"].lower(): entry["version"] for entry in json.loads(said.stdout)}


@pytest.mark.slow
def test_a_stranger_sets_up_with_the_defaults(fresh, tmp_path):
    said = set_up(fresh)
    assert "to download" in said
    installed = packages_of(fresh)
    assert {"h5py", "matplotlib", "pyogrio", "zarr"} <= set(installed)
    if "as no GPU of NVIDIA was found" in said and sys.platform.startswith("linux"):
        assert installed["torch"].endswith("+cpu")
        assert not [name for name in installed if name.startswith(("nvidia", "cuda", "triton"))]
    first_scores(fresh, tmp_path)
    again = set_up(fresh)
    assert f"hadgeo {installed['hadgeo']} with torch" in again


@pytest.mark.slow
def test_a_stranger_sets_up_without_a_network(fresh, tmp_path):
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    words = [BACKEND, str(ROOT / "qgis_plugin" / "offline_bundle.py"), str(tmp_path / "bundle")]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # A network namespace of its own has no way out, where one may be made.
    apart = ["unshare", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"], capture_output=True).returncode:
        apart = []
    said = set_up(fresh, f"WHEELS={tmp_path / 'bundle' / 'wheels'}", "TORCH=cpu", before=apart)
    assert "to download" not in said
    assert "--no-index" in said or "Looking in indexes" not in said
    first_scores(fresh, tmp_path)
