"""SHA-256 without OpenSSL: hashlib loads it, which takes a third of a bare start."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import cast


def sha256(data: bytes) -> bytes:
    """Return the digest, 32 bytes, computed by Python's own extension module as its `random` does."""
    for module in ("_sha2", "_sha256"):  # since 3.12, and before
        with suppress(ImportError):
            return cast("bytes", import_module(module).sha256(data).digest())
    import hashlib  # noqa: PLC0415 - where it is not CPython that runs this

    return hashlib.sha256(data).digest()
