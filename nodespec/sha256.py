"""Compute SHA-256 without OpenSSL.

hashlib loads OpenSSL, which takes a third of the time that Python needs to start.
"""

from __future__ import annotations

from importlib import import_module

from nodespec.light_typing import cast


def sha256(data: bytes) -> bytes:
    """Return the digest of data, 32 bytes.

    It is computed by Python's own extension module, which the module `random` also uses.
    """
    for module in ("_sha2", "_sha256"):  # The name since Python 3.12, and the name before.
        try:
            return cast("bytes", import_module(module).sha256(data).digest())
        except ImportError:
            continue
    import hashlib  # noqa: PLC0415 - for a Python other than CPython

    return hashlib.sha256(data).digest()
