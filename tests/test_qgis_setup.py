"""The set-up of the QGIS plugin's backend, as far as it needs no QGIS: what is installed, and what failures say."""

from __future__ import annotations

import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "qgis_plugin"))
from hadgeo_qgis import backend, environment, failures, packages, pythons  # noqa: E402

sys.path.pop(0)

EXTRAS = ",".join(packages.EXTRAS)

#: Nothing of what this machine's pip is told about indexes.
ALONE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_INDEX_URL": "https://index.invalid/simple",
    "NO_PROXY": "",
    "no_proxy": "",
}


class Ear(backend.Listener):
    """Remembers what was printed and logged."""

    def __init__(self) -> None:
        self.printed: list[str] = []

    def console(self, text: str) -> None:
        self.printed.append(text)

    def log(self, message: str, warning: bool = False) -> None:
        self.printed.append(message)


def wheel(folder: Path, text: str = "", payload: int = 0, needs: str = "") -> str:
    """A wheel of a package hadgeo, with a text in it, so many bytes that cannot be compressed, and a requirement."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hadgeo-9.0-py3-none-any.whl"
    info = "hadgeo-9.0.dist-info"
    required = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        "hadgeo/__init__.py": f"text = {text!r}\n".encode(),
        "hadgeo/payload": os.urandom(payload),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: hadgeo\nVersion: 9.0\n{required}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return str(path)


@pytest.mark.parametrize(
    ("package", "wanted"),
    [
        ("hadgeo", f"hadgeo[{EXTRAS}]"),
        ("hadgeo==1.2", f"hadgeo[{EXTRAS}]==1.2"),
        ("hadgeo >= 1.2, <2", f"hadgeo[{EXTRAS}]>= 1.2, <2"),
        ("hadgeo[sklearn]==1.2", f"hadgeo[{EXTRAS.replace('report', 'report,sklearn')}]==1.2"),
        ("hadgeo[hdf5]", f"hadgeo[{EXTRAS}]"),
        ("/a b/hadgeo-1.2-py3-none-any.whl", f"/a b/hadgeo-1.2-py3-none-any.whl[{EXTRAS}]"),
        ("/checkout", f"/checkout[{EXTRAS}]"),
        ("https://hadgeo.example/hadgeo-1.2.whl", f"hadgeo[{EXTRAS}] @ https://hadgeo.example/hadgeo-1.2.whl"),
        ("git+https://hadgeo.example/repository", f"hadgeo[{EXTRAS}] @ git+https://hadgeo.example/repository"),
        ("hadgeo @ file:///a.whl", f"hadgeo[{EXTRAS}] @ file:///a.whl"),
    ],
)
def test_whatever_is_installed_has_the_extras_that_the_algorithms_need(package: str, wanted: str) -> None:
    assert packages.with_extras(package) == wanted


def test_the_extras_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{extra} = [" in text for extra in packages.EXTRAS)


def test_on_linux_a_build_for_cpus_is_asked_for_by_its_name_so_that_cuda_never_comes() -> None:
    version = packages.TORCH_VERSION
    assert packages.torch_requirement("cpu", "linux") == f"torch=={version}+cpu"
    assert packages.torch_requirement("cpu", "win32") == f"torch=={version}"
    assert packages.torch_requirement("cpu", "darwin") == f"torch=={version}"
    assert packages.torch_requirement("cuda", "linux") == f"torch=={version}"


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of the path, and empty."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_build_of_torch_follows_the_machine(bare_path: Path) -> None:
    assert packages.build_of_torch("auto")[0] == "cpu"
    assert packages.build_of_torch("cpu")[0] == "cpu"
    with pytest.raises(backend.BackendError, match="no driver of NVIDIA answers"):
        packages.build_of_torch("cuda")
    driver = bare_path / "nvidia-smi"
    # As the driver says it where the GPU is gone, and where it is there.
    driver.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    driver.chmod(0o755)
    assert packages.build_of_torch("auto")[0] == "cpu"
    driver.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n")
    assert packages.build_of_torch("auto")[0] == ("cuda" if sys.platform != "darwin" else "cpu")
    assert packages.build_of_torch("cpu")[0] == "cpu"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a hadgeo that needs nothing, to be renewed by tests."""
    folder = tmp_path_factory.mktemp("made") / "backend"
    package = wheel(folder.parent / "first", "first")
    environment.set_up(folder, folder / "bin" / "python", Ear(), python=sys.executable, package=package)
    return folder


def renew(folder: Path, ear: Ear, package: str, connection: dict[str, str], **more: str) -> None:
    environment.set_up(folder, folder / "bin" / "python", ear, package=package, connection=connection, **more)


def text_of(folder: Path) -> str:
    command = [folder / "bin" / "python", "-I", "-c", "import hadgeo; print(hadgeo.text)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_hadgeo_of_the_same_version_is_replaced(made: Path, tmp_path: Path) -> None:
    renew(made, Ear(), wheel(tmp_path, "second"), ALONE)
    assert text_of(made) == "second"


def test_everything_comes_from_a_folder_of_wheels_where_one_is_given(made: Path, tmp_path: Path) -> None:
    renew(made, Ear(), wheel(tmp_path, "third"), ALONE, wheels=str(tmp_path))
    assert text_of(made) == "third"
    needy = wheel(tmp_path / "needy", needs="affine>=1")
    with pytest.raises(backend.BackendError, match=r"Package: .* affine"):
        renew(made, Ear(), needy, {}, wheels=str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(backend.BackendError, match=r"empty holds no wheels: .*offline-bundle"):
        renew(made, Ear(), needy, {}, wheels=str(tmp_path / "empty"))


class Answer(socketserver.BaseRequestHandler):
    """A proxy that wants a password, whatever it is given."""

    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[int]:
    """The port of a proxy that refuses."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def through(port: int) -> dict[str, str]:
    address = f"http://me:s3cret@127.0.0.1:{port}"
    return {**ALONE, **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), address)}


def test_a_proxy_that_refuses_is_named_and_its_password_is_not(made: Path, tmp_path: Path, proxy: int) -> None:
    ear = Ear()
    with pytest.raises(backend.BackendError, match=r"not set up: Proxy: .*407 Proxy Authentication Required") as failed:
        renew(made, ear, wheel(tmp_path, needs="affine>=1"), through(proxy))
    assert "s3cret" not in "\n".join([*ear.printed, str(failed.value)])
    assert "\n" not in str(failed.value)
    assert "subprocess" not in str(failed.value)


def test_a_proxy_that_is_not_there_is_named(made: Path, tmp_path: Path, closed_port: int) -> None:
    with pytest.raises(backend.BackendError, match="not set up: Proxy: "):
        renew(made, Ear(), wheel(tmp_path, needs="affine>=1"), through(closed_port))


def test_a_network_that_is_not_there_is_named(made: Path, tmp_path: Path, closed_port: int) -> None:
    for address in (f"http://127.0.0.1:{closed_port}/simple", "https://index.invalid/simple"):
        direct = {name: "" for name in through(0) if name.lower().endswith("_proxy")}
        with pytest.raises(backend.BackendError, match=r"not set up: Network: .*cannot be reached") as failed:
            renew(made, Ear(), wheel(tmp_path, needs="affine>=1"), {**ALONE, **direct, "PIP_INDEX_URL": address})
        assert "Folder of wheels" in str(failed.value)


@pytest.fixture
def private_index(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a package index whose certificate nobody else knows, and that certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *more], check=True, capture_output=True)
    (tmp_path / "simple" / "affine").mkdir(parents=True)
    built = Path(wheel(tmp_path / "other")).rename(tmp_path / "simple" / "affine" / "affine-3.0-py3-none-any.whl")
    (tmp_path / "simple" / "affine" / "index.html").write_text(f'<a href="{built.name}">{built.name}</a>')

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with HTTPServer(("127.0.0.1", 0), Files) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/simple", certificate
        server.shutdown()


def test_certificates_are_those_of_the_connection(made: Path, tmp_path: Path, private_index: tuple[str, Path]) -> None:
    address, certificate = private_index
    needy = wheel(tmp_path / "needy", needs="affine>=4")
    connection = {**{name: "" for name in through(0) if name.lower().endswith("_proxy")}, **ALONE}
    with pytest.raises(backend.BackendError, match=r"not set up: Certificate: .*Manage Certificates"):
        renew(made, Ear(), needy, {**connection, "PIP_INDEX_URL": address, "PIP_CERT": ""})
    # It is reached now, and has another version alone.
    trusted = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), str(certificate))
    with pytest.raises(backend.BackendError, match=r"not set up: Package: .*affine>=4"):
        renew(made, Ear(), needy, {**connection, **trusted, "PIP_INDEX_URL": address})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 60 MB."""
    place = tmp_path / "small"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_is_named(small_disk: Path, tmp_path: Path) -> None:
    folder = small_disk / "profile" / "backend"
    large = wheel(tmp_path / "large", payload=80_000_000)
    with pytest.raises(backend.BackendError, match=r"not set up: Disk: .*not enough space.* MB are left for"):
        environment.set_up(folder, folder / "bin" / "python", Ear(), python=sys.executable, package=large)
    assert not list(folder.parent.iterdir())


def test_a_disk_that_is_too_small_is_refused_before_anything_is_downloaded(small_disk: Path, tmp_path: Path) -> None:
    folder, ear = small_disk / "profile" / "backend", Ear()
    with pytest.raises(backend.BackendError, match=r"not set up: Disk: .* GB left, and 2\.5 GB are needed"):
        environment.set_up(folder, folder / "bin" / "python", ear, package=wheel(tmp_path), torch="cpu")
    assert not folder.exists()
    assert any("450 MB to download" in line and "min at 50 Mbit/s" in line for line in ear.printed)


def test_no_python_is_named_with_how_to_get_one(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inside QGIS, that is where QGIS's own Python lies.
    monkeypatch.setattr(sys, "base_exec_prefix", str(bare_path))
    if pythons._candidates():
        pytest.skip("this machine has a Python that is found without the path")
    folder = tmp_path / "profile" / "backend"
    package = wheel(tmp_path / "wheels")
    with pytest.raises(backend.BackendError, match=r"Python: no Python .*install.*Python to start from.*"):
        environment.set_up(folder, folder / "bin" / "python", Ear(), package=package)
    with pytest.raises(backend.BackendError, match=r"Python: .*without a network none can be fetched"):
        environment.set_up(folder, folder / "bin" / "python", Ear(), package=package, wheels=str(tmp_path / "wheels"))
    assert not list(folder.parent.iterdir())


def test_how_a_python_is_got_depends_on_the_system(tmp_path: Path) -> None:
    release = tmp_path / "os-release"

    def linux(text: str) -> str:
        release.write_text(text)
        return pythons.how_to_get("linux", release)

    assert linux("ID=ubuntu\nID_LIKE=debian\n") == "install one (sudo apt install python3.11)"
    assert linux('ID="rhel"\nID_LIKE="fedora"\n') == "install one (sudo dnf install python3.12)"
    assert "zypper install python312" in linux('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n')
    assert "pacman -S python" in linux("ID=arch\n")
    assert "system's packages" in linux("ID=plan9\n")
    assert "python.org" in pythons.how_to_get("win32")
    assert "brew install" in pythons.how_to_get("darwin")


def test_a_python_that_is_too_new_for_torch_is_not_searched_for_but_may_be_chosen(bare_path: Path) -> None:
    for name, version in (("python3.14", "3 99"), ("python3", "3 12")):
        file = bare_path / name
        file.write_text(f"#!/bin/sh\necho {version}\n")
        file.chmod(0o755)
    assert environment.find_python() == str(bare_path / "python3")
    assert environment.find_python(str(bare_path / "python3.14")) == str(bare_path / "python3.14")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ERROR: Could not install packages: [WinError 112] There is not enough space on the disk", "Disk"),
        ("ERROR: Could not install packages: [WinError 5] Access is denied: 'numpy.pyd'", "Permission"),
        ("ERROR: Package 'hadgeo' requires a different Python: 3.10.2 not in '>=3.11'", "Python"),
        ("  cause: invalid peer certificate: UnknownIssuer", "Certificate"),
        ("  Caused by: client error (Connect): tunnel error: unsuccessful", "Proxy"),
        ("  Caused by: dns error: failed to lookup address information: Name or service not known", "Network"),
        ("  Downloading x-1.0-py3-none-any.whl (407 kB)", ""),
    ],
)
def test_causes_are_told_from_what_programs_of_other_systems_print(line: str, cause: str) -> None:
    assert failures.cause_of(["Collecting x", line]) == cause


def test_the_line_that_is_shown_is_the_one_that_tells() -> None:
    said = [
        "ERROR: Failed to build 'x' when getting requirements to build wheel",
        "RuntimeError: no compiler",
        "note: This error originates from a subprocess, and is likely not a problem with pip.",
        "hint: See above for details.",
    ]
    assert failures.reason(said, 1) == "RuntimeError: no compiler"
    assert failures.reason([], -9).startswith("Memory: ")
    assert failures.reason([], 3) == "status 3"
