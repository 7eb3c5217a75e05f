"""How the network is reached, as QGIS's own settings say it, in environment variables that pip and uv know."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from qgis.core import QgsApplication, QgsSettings

from . import packages
from .backend import BackendError


def variables(file: Path) -> dict[str, str]:
    """The proxy and the certificates of QGIS's settings.

    Args:
        file: Where to write the certificates that QGIS trusts.

    Raises:
        BackendError: The proxy is of a kind that pip cannot use.
    """
    return {**_proxy(), **_certificates(file)}


def _proxy() -> dict[str, str]:
    """What Settings, Options, Network has; nothing where QGIS itself asks the system, as pip and uv do."""
    settings = QgsSettings()

    def value(name: str) -> str:
        return str(settings.value(f"proxy/{name}", "") or "").strip()

    kind, host = value("proxyType"), value("proxyHost")
    if not settings.value("proxy/proxyEnabled", False, type=bool) or kind == "DefaultProxy" or not host:
        return {}
    if kind == "Socks5Proxy":
        raise BackendError(
            f"Proxy: {host} is a SOCKS proxy, which pip cannot use: choose an HTTP proxy in QGIS under Settings, "
            "Options, Network, or give a folder under 'Folder of wheels'"
        )
    user, secret = value("proxyUser"), value("proxyPassword")
    if value("authcfg"):
        user, secret = _authentication(value("authcfg")) or (user, secret)
    login = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if user else ""
    port = f":{value('proxyPort')}" if value("proxyPort") not in ("", "0") else ""
    address = f"http://{login}{host}{port}"
    found = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address)
    found.update({name.lower(): address for name in found})
    direct = _direct_hosts(settings)
    return {**found, "NO_PROXY": direct, "no_proxy": direct}


def _authentication(configuration: str):
    """User and password of an entry of QGIS's authentication; None where it cannot be read."""
    from qgis.PyQt.QtNetwork import QNetworkProxy  # seldom needed

    done = QgsApplication.authManager().updateNetworkProxy(QNetworkProxy(), configuration)
    # PyQGIS gives back what C++ changes, after the outcome.
    proxy = done[1] if isinstance(done, tuple) else None
    return (proxy.user(), proxy.password()) if proxy is not None and done[0] else None


def _direct_hosts(settings) -> str:
    """Hosts that are reached without the proxy: those of QGIS, and those of the environment."""
    listed = [*(settings.value("proxy/noProxyUrls", []) or []), *(settings.value("proxy/proxyExcludedUrls", []) or [])]
    hosts = [urlsplit(url).hostname if "://" in url else url for url in listed]
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    return ",".join(dict.fromkeys(host for host in [*hosts, *known.split(",")] if host))


def _certificates(file: Path) -> dict[str, str]:
    """A file of all authorities that are trusted: by QGIS, by the environment, and by pip itself."""
    trusted = bytes(QgsApplication.authManager().trustedCaCertsPemText()).decode("ascii", errors="ignore")
    texts = [trusted, *_certificates_of_the_environment(), _certificates_of_pip()]
    if not trusted.strip():
        return {}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(text.strip() for text in texts if text.strip()) + "\n", encoding="ascii", errors="ignore")
    return {name: str(file) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}


def _certificates_of_the_environment() -> list[str]:
    files = dict.fromkeys(os.environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))
    found = []
    for name in filter(None, files):
        with suppress(OSError):
            found.append(Path(name).read_text(encoding="ascii", errors="ignore"))
    return found


def _certificates_of_pip() -> str:
    """The public authorities: Windows knows an authority only once something has asked for it."""
    pip = packages.carried("pip")
    if pip is None:
        return ""
    with suppress(OSError, KeyError, zipfile.BadZipFile), zipfile.ZipFile(pip) as archive:
        return archive.read("pip/_vendor/certifi/cacert.pem").decode("ascii", errors="ignore")
    return ""
