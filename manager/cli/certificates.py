"""`kcm certificates`: an authority of the group's own, and certificates that name the managers' hosts."""

import argparse
import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager.cli.client import ClientError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_DAYS = 825
_AUTHORITY_DAYS = 3650
_HERE = ("localhost", "127.0.0.1", "::1")
"""In each certificate: who is on the manager's host asks it there."""


def add_verb(verbs: Any, verb: Any, shown: Any) -> None:
    """Add `kcm certificates FOLDER HOST...`."""

    def action(options: argparse.Namespace) -> str:
        try:
            answer = make(Path(options.folder), options.hosts, options.server_name, options.days)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ClientError(f"{error.filename or options.folder} cannot be used: {why}") from None
        text: str = shown(options, answer, lambda: _for_people(answer))
        return text

    parser = verb(
        verbs,
        "certificates",
        "make certificates for TLS, one for each host, by the group's own authority",
        action,
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="where they are; holds the authority's key: keep it to yourself"
    )
    parser.add_argument(
        "hosts",
        nargs="+",
        metavar="HOST",
        help="what others connect to, all names and addresses of one host with commas between them",
    )
    parser.add_argument(
        "--server-name", default="", metavar="NAME", help="a name that each of them has as well"
    )
    parser.add_argument("--days", type=int, default=_DAYS, help=f"how long they hold; default: {_DAYS}")


def make(folder: Path, hosts: list[str], server_name: str = "", days: int = _DAYS) -> dict[str, Any]:
    """A pair for each of `hosts`, over those that were there. Raises `OSError`, `ClientError`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    authority, key = _authority(folder)
    made = []
    for host in hosts:
        names = [name for name in host.split(",") if name]
        if not names or "/" in names[0] or names[0] == "ca":
            raise ClientError(f"{host!r} is no host: give names and addresses, with commas between them")
        own = _new_key()
        issued = _signed(
            names[0], own, days, authority, key, [*names, *_HERE, *([server_name] if server_name else [])]
        )
        cert_file, key_file = folder / f"{names[0]}.pem", folder / f"{names[0]}.key"
        _write(key_file, _pem(own), 0o600)
        _write(cert_file, _bytes(issued), 0o644)
        made.append({"host": names[0], "cert": str(cert_file), "key": str(key_file)})
    return {"ca": str(folder / "ca.pem"), "certificates": made}


def _authority(folder: Path) -> tuple["x509.Certificate", "EllipticCurvePrivateKey"]:
    """That of `folder`, made where there is none."""
    # Loaded only here and below: it takes longer to load than most verbs to answer.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    cert_file, key_file = folder / "ca.pem", folder / "ca.key"
    if cert_file.exists() or key_file.exists():
        try:
            known = load_pem_private_key(key_file.read_bytes(), None)
            authority = x509.load_pem_x509_certificate(cert_file.read_bytes())
        except (ValueError, TypeError) as error:
            raise ClientError(
                f"{folder} holds no authority that can be used ({error}): name another"
            ) from None
        if not isinstance(known, EllipticCurvePrivateKey) or known.public_key() != authority.public_key():
            raise ClientError(f"{key_file} is not the key of {cert_file}: name another folder")
        return authority, known
    key = _new_key()
    authority = _signed("krakend cluster managers", key, _AUTHORITY_DAYS)
    _write(key_file, _pem(key), 0o600)
    _write(cert_file, _bytes(authority), 0o644)
    return authority, key


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _signed(
    subject: str,
    key: "EllipticCurvePrivateKey",
    days: int,
    authority: "x509.Certificate | None" = None,
    signing: "EllipticCurvePrivateKey | None" = None,
    names: list[str] | None = None,
) -> "x509.Certificate":
    """Of `authority`; without one, an authority by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    signing = signing or key
    now = datetime.now(UTC)
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])])
    usage = {
        name: name in (("key_cert_sign", "crl_sign") if authority is None else ("digital_signature",))
        for name in (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        )
    }  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks differ.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False
        )
    )
    if authority is not None:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False).add_extension(
            x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names or [])]),
            critical=False,
        )
    return builder.sign(signing, hashes.SHA256())


def _general(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise ClientError(f"{name!r} is neither a host's name in ASCII nor an address") from None


def _pem(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _bytes(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, also over a file that is in use."""
    beside = path.with_name(f".{path.name}.new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
        stream.write(content)
    beside.replace(path)


def _for_people(answer: dict[str, Any]) -> str:
    rows = "".join(f"\n  {made['cert']}  {made['key']}" for made in answer["certificates"])
    return (
        f"{answer['ca']} is what all managers, nodes and people trust, as tls.ca and KCM_CA."
        f" Each host has its own tls.cert and tls.key:{rows}"
    )
