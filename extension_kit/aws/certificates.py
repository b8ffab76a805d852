"""Which certificates a server is checked against, where nobody names a file: the system's, wherever it keeps them.

OpenSSL looks in the two places that were compiled into it, and says nothing where they are empty: every connection then fails.
Those places are not everywhere the same. Amazon Linux has /etc/pki/tls/cert.pem, older images only certs/ca-bundle.crt, which
OpenSSL does not look for; Debian has a folder with a file for each certificate. The Python that a layer brings was
compiled for Amazon Linux and meets all of them, and images without any: it carries Mozilla's.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl

__all__ = ["BUNDLES", "trust_system"]

#: Amazon Linux, Red Hat; the same under its other name; Debian; Alpine, BSD
BUNDLES = (
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
)
#: beside the library of the Python that a layer brings
_BROUGHT = "cacert.pem"


def trust_system(context: ssl.SSLContext, bundles: tuple[str, ...] = BUNDLES, prefix: str = sys.prefix) -> str:
    """Make `context` trust what the system trusts; the file or folder that was taken, "" where there is none at all.

    OpenSSL's own places come first: a folder of hashed names is not read before a certificate is looked for, which saves
    some milliseconds. Then `bundles`, then the bundle in `prefix`, where the Python that a layer brings has one.
    """
    import ssl

    context.set_default_verify_paths()
    places = ssl.get_default_verify_paths()
    if places.cafile is not None and context.cert_store_stats()["x509"]:
        return places.cafile
    if places.capath is not None and _has_hashed(places.capath):
        return places.capath
    for path in (*bundles, f"{prefix}/{_BROUGHT}"):
        try:
            context.load_verify_locations(path)
        except OSError:  # SSLError, of a file without a certificate, is one
            continue
        if context.cert_store_stats()["x509"]:
            return path
    return ""


def _has_hashed(folder: str) -> bool:
    """Whether OpenSSL finds anything there: files named by the hash of their certificate's subject, ``4042bcee.0``."""
    import posix

    try:
        names = posix.listdir(folder)
    except OSError:
        return False
    return any(name[8:9] == "." and name[9:].isdigit() for name in names)
