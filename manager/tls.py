"""TLS of the node and HTTP ports: a certificate that may be replaced while the manager runs."""

import ssl
import time
from pathlib import Path

from cryptography import x509

_DAY = 86400.0


class Certificate:
    """What `cert` and `key` name. `context` serves new connections with the newest pair that could be read.

    `client_ca`, where it is given, is the authority whose certificates clients must show.
    """

    def __init__(self, cert: str, key: str, client_ca: str = "") -> None:
        """Raises `OSError` or `ValueError` where the files are no pair."""
        self._files = (cert, key)
        self._mark: object = None
        self._expires = 0.0
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.refresh()

    @property
    def days_left(self) -> float:
        """Until the certificate expires; negative once it has."""
        return (self._expires - time.time()) / _DAY

    def refresh(self) -> bool:
        """Take the files anew where they have changed; whether they had. Raises as the constructor does.

        After an error the former pair serves on, and the next call tries again.
        """
        mark = [(Path(name).stat().st_mtime_ns, Path(name).stat().st_size) for name in self._files]
        if mark == self._mark:
            return False
        cert, key = self._files
        # Tried on a context of its own: half a pair must not get into the one that serves.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
        found = x509.load_pem_x509_certificate(Path(cert).read_bytes())
        self.context.load_cert_chain(cert, key)
        self._expires, self._mark = found.not_valid_after_utc.timestamp(), mark
        return True


def to_managers(ca: str) -> ssl.SSLContext:
    """For asking managers whose certificates are of authority `ca`, the group's own: names are not compared.

    Raises `OSError`.
    """
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    return context
