"""Why a set-up failed, in one line that names the cause. Neither Qt nor QGIS is imported here.

pip, uv and venv end with whatever stopped them last, which is seldom the cause: without a network, pip says that there
is "no matching distribution". What they printed on the way says more.
"""

from __future__ import annotations

import re

NETWORK, PROXY, CERTIFICATE, DISK, PERMISSION, PYTHON, PACKAGE = (
    "Network", "Proxy", "Certificate", "Disk", "Permission", "Python", "Package",
)  # fmt: skip

#: What each cause looks like in the output of pip, uv and venv. The first that is found is the cause: a proxy that
#: refuses is also a network that fails, and a network that fails is also a package that is not found.
_SIGNS = {
    DISK: (
        r"No space left on device|\[Errno 28\]|os error 28|not enough space on the disk|WinError 112",
        r"Disk quota exceeded",
    ),
    PROXY: (
        r"ProxyError|Cannot connect to proxy|Tunnel connection failed|tunnel error|unsupported proxy",
        r"407 Proxy|Proxy Authentication Required|proxy authorization required|support for SOCKS|SOCKS support",
    ),
    CERTIFICATE: (
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|invalid peer certificate",
        r"SSLError|SSLCertVerificationError",
    ),
    NETWORK: (
        r"NewConnectionError|ConnectTimeoutError|ReadTimeoutError|NameResolutionError|MaxRetryError|RemoteDisconnected",
        r"Failed to establish a new connection|Temporary failure in name resolution|Name or service not known",
        r"getaddrinfo failed|nodename nor servname|failed to lookup address|dns error|error sending request",
        r"Network is unreachable|Connection (refused|reset|aborted)|[Tt]imed out|[Ii]ncomplete-?([Rr]ead|[Dd]ownload)",
        r"HTTP error [45]\d\d|\b50[234] Server Error|HTTP status (client|server) error",
    ),
    PERMISSION: (
        r"Permission denied|\[Errno 13\]|Access is denied|WinError (5|32)\b|Read-only file system|\[Errno 30\]",
    ),
    PYTHON: (
        r"requires a different Python|ensurepip is not available|No module named '?(ensurepip|venv)",
        r"not a supported wheel on this platform|No interpreter found|No download found for request",
    ),
    PACKAGE: (
        r"No matching distribution found|Could not find a version|ResolutionImpossible|No solution found",
        r"is not a valid wheel|conflicting dependencies",
    ),
}


#: What to do about each.
_ADVICE = {
    NETWORK: (
        "{what} cannot be reached. Is this machine online? A proxy is set in QGIS under Settings, Options, "
        "Network; without any connection, give a folder under 'Folder of wheels'"
    ),
    PROXY: (
        "the proxy refuses the connection or does not answer. Check it, with its user and password, in QGIS under "
        "Settings, Options, Network; or give a folder under 'Folder of wheels'"
    ),
    CERTIFICATE: (
        "the certificate of {what} is not trusted. Where a firewall has its own authority, add it in QGIS "
        "under Settings, Options, Authentication, Manage Certificates, Authorities"
    ),
    DISK: "there is not enough space. Free some, and run 'Set up the backend' again",
    PERMISSION: (
        "a file cannot be written. Is the backend at work in another window of QGIS, or the folder write-protected? "
        "Close the other one, and run 'Set up the backend' again"
    ),
    PYTHON: "this Python cannot be used. Choose another one, of version 3.11 or newer, under 'Python to start from'",
    PACKAGE: "{what} has nothing that suits this Python and platform",
}

#: Lines that say no more than that something went wrong.
_EMPTY = re.compile(
    r"subprocess|This is an issue with the package|^note:|^hint:|See above for|exit code|^\W*$|new release of pip", re.I
)

#: The words of the system or of a proxy, in a line that quotes them.
_CORE = r"(\[Errno -?\d+\]|Tunnel connection failed:|certificate verify failed:) ?[^'\"()]+"

#: A user and password within an address.
_SECRET = re.compile(r"(?<=://)[^/@\s'\"]+@")


def without_secrets(text: str) -> str:
    """A line in which addresses have neither user nor password."""
    return _SECRET.sub("…@", text)


def cause_of(lines: list[str]) -> str:
    """The cause of a failure, one of the names above; empty where nothing that was printed tells it.

    Args:
        lines: What the program printed.
    """
    text = "\n".join(lines)
    return next((cause for cause, signs in _SIGNS.items() if re.search("|".join(signs), text)), "")


def reason(lines: list[str], status: int, where: str = "", what: str = "the package index") -> str:
    """One line for the user: the cause, what to do, and the line that tells it.

    Args:
        lines: What the program printed.
        status: Its exit status.
        where: What is known of the disk; added where that is the cause.
        what: What the program asked.
    """
    cause = cause_of(lines)
    if status == -9 and not cause:
        return "Memory: the system ended the set-up, most likely for want of memory"
    told = _telling(lines, "|".join(_SIGNS.get(cause, ()))) or f"status {status}"
    if not cause:
        return told
    advice = _ADVICE[cause].format(what=what) + (f" ({where})" if where and cause == DISK else "")
    return f"{cause}: {advice}. It said: {told}"


def not_found(lines: list[str]) -> str:
    """The requirement that an index was asked for in vain; empty where it is something else that failed."""
    named = re.search(r"No matching distribution found for (\S+)", "\n".join(lines))
    return named[1] if named and cause_of(lines) == PACKAGE else ""


def _telling(lines: list[str], signs: str) -> str:
    """The line that tells the cause, or the last error, without what surrounds it."""
    spoken = [line.strip() for line in lines if line.strip() and not _EMPTY.search(line)]
    telling = [line for line in spoken if signs and re.search(signs, line)]
    errors = [line for line in spoken if re.match(r"(ERROR|[Ee]rror|\S*(Error|Exception)):", line)]
    chosen = (telling or errors or spoken)[-1:] or [""]
    # What pip quotes from inside of its libraries.
    core = re.search(_CORE, chosen[0])
    text = without_secrets(core[0] if core else re.sub(r"^(ERROR|[Ee]rror|WARNING|cause|Caused by): *", "", chosen[0]))
    return text if len(text) <= 300 else f"{text[:300]}…"
