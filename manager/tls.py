"""TLS of the node and HTTP ports: a certificate that may be replaced while the manager runs."""

import ssl
import time
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from node.tls import speaks_no_tls

_DAY = 86400.0
HUNG_UP = (
    "it hung up or fell silent: it looked whether the port is open, or it does not believe this manager's "
    "certificate, which its own log says"
)


class Certificate:
    """What `cert` and `key` name. `context` serves new connections with the newest pair that could be read.

    `client_ca`, where it is given, is the authority whose certificates clients must show.
    """

    def __init__(self, cert: str, key: str, client_ca: str = "") -> None:
        """Raises `OSError` or `ValueError` where the files are no pair."""
        self._files = (cert, key)
        self._mark: object = None
        self._expires = 0.0
        self.names: tuple[str, ...] = ()
        """Names and addresses that the certificate is for."""
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
        self.names = _names(found)
        return True

    def is_for(self, name: str) -> bool:
        """Whether a client that connects to `name`, a host's name or an address, takes it."""
        wanted = name.lower()
        _, _, parent = wanted.partition(".")
        return wanted in self.names or (not _is_address(wanted) and f"*.{parent}" in self.names)

    def unfit(self, address: str, server_name: str) -> str:
        """Why those who connect to a manager at `address` do not believe it, and the remedy; or empty."""
        if self.is_for(server_name or address):
            return ""
        what = f"the name in tls.server_name, {server_name}" if server_name else address
        return (
            f"tls.cert is for {', '.join(self.names) or 'no name at all'} and not for {what}, which nodes and"
            " managers compare it with: make one that is, as `kcm certificates` does"
            + ("" if server_name else ", or give all a name in common by tls.server_name")
        )


def why_failed(error: OSError) -> str:
    """Why a handshake with a client failed, and the remedy."""
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if isinstance(error, ssl.SSLEOFError) or not reason or reason.startswith("UNEXPECTED_EOF"):
        # Also who disbelieves a certificate often only hangs up.
        return HUNG_UP
    if isinstance(error, ssl.SSLError) and speaks_no_tls(error):
        return "it does not speak TLS: a node needs tls.ca, `kcm` https:// and KCM_CA, a browser https://"
    if reason.endswith(("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN")):
        return "it does not believe this manager's certificate: compare its tls.ca or KCM_CA with tls.cert"
    if reason in ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED"):
        return "it shows no certificate of tls.client_ca: give it tls.cert and tls.key of that authority"
    return reason.lower().replace("_", " ")


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return (*(name.lower() for name in found.get_values_for_type(x509.DNSName)), *addresses)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
