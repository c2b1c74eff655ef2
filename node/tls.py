"""TLS to managers: whose certificates are believed, and by which name."""

import ssl
from typing import Any

_NOT_THE_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED = 10
_UNKNOWN_AUTHORITY = (2, 7, 18, 19, 20, 21)  # 7: one of the same name signs with another key
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL", "HTTP_REQUEST")


class ManagersContext(ssl.SSLContext):
    """Compares certificates with `server_name` where it is given, whatever address the connection goes to."""

    server_name = ""

    def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*given, **self._compared(named))

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        return super().wrap_bio(*given, **self._compared(named))

    def _compared(self, named: dict[str, Any]) -> dict[str, Any]:
        return {**named, "server_hostname": self.server_name} if self.server_name else named


def to_managers(ca: str, server_name: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    """For connections to managers whose certificates are of authority `ca`.

    They must be for the name or address that is connected to, or all for `server_name`. `cert` and `key` are
    shown where managers want them. Raises `OSError` or `ValueError`.
    """
    context = ManagersContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.server_name = server_name
    context.load_verify_locations(ca)
    if cert:
        context.load_cert_chain(cert, key or None)
    return context


def speaks_no_tls(error: ssl.SSLError) -> bool:
    """Whether the other end's first bytes were none of TLS."""
    return error.reason in _NO_TLS


def refusal(error: ssl.SSLCertVerificationError, ca: str, server_name: str) -> str:
    """Why a manager's certificate is not believed, and what to do, by the settings `ca` and `server_name`."""
    if error.verify_code in _NOT_THE_NAME:
        return (
            f"its certificate is not for this name ({error.verify_message.rstrip('.')}): make one that"
            f" names it, as `kcm certificates` does, or put a name that all of them have into {server_name}"
        )
    if error.verify_code == _EXPIRED:
        return "its certificate has expired: put a new one in its place, as `kcm certificates` makes it"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"its certificate is not signed by {ca} ({error.verify_message})"
    return f"its certificate is not valid: {error.verify_message}"
