"""The trust anchor: AWS Nitro Enclaves Root-G1, bundled with this module and pinned by fingerprint."""

import hashlib
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.verify.errors import MalformedError, UsageError

AWS_ROOT_SHA256 = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"

_AWS_ROOT_FILE = Path(__file__).with_name("aws-nitro-enclaves-root-g1.pem")


def aws_root() -> x509.Certificate:
    """The bundled root certificate. Raises UsageError if its fingerprint is not the pinned one."""
    root = load_certificate(_AWS_ROOT_FILE.read_bytes())
    if fingerprint(root) != AWS_ROOT_SHA256:
        raise UsageError(f"{_AWS_ROOT_FILE.name} is not the AWS root: its SHA-256 is {fingerprint(root)}")
    return root


def load_certificate(data: bytes) -> x509.Certificate:
    """Parse the first certificate of a PEM file or the one of a DER file. Raises MalformedError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if b"-----BEGIN" in data:
                return x509.load_pem_x509_certificate(data)
            return x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion, Warning):
        raise MalformedError("neither PEM nor DER") from None


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, in hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
