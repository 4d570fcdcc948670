"""Certificates, as openssl(1) made them and prints them."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, List, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespec.checks.certificates import certificates
from nodespec.facts.declaration import Record
from nodespec.facts.value_types import Datum
from nodespec.formats import x509
from nodespec.host.machine import Machine
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from conftest import MakeTree

PEM = """-----BEGIN CERTIFICATE-----
MIIBwjCCAWegAwIBAgIUeALpM4DoZfWJf0UcW+8AXiEx8RUwCgYIKoZIzj0EAwIw
NjEVMBMGA1UECgwMc3lzdGVtOm5vZGVzMR0wGwYDVQQDDBRzeXN0ZW06bm9kZTp3
b3JrZXItMTAeFw0yNjExMjgxOTE0MjNaFw0zNjExMjUxOTE0MjNaMDYxFTATBgNV
BAoMDHN5c3RlbTpub2RlczEdMBsGA1UEAwwUc3lzdGVtOm5vZGU6d29ya2VyLTEw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASEktqoXQKAzCy1OZKjps8j9aNCCbja
1UHrSdXn+O22NO6Pgibh+IFzHS4g4CAkAz0edVblXRzfDeX3+REuWu7Xo1MwUTAd
BgNVHQ4EFgQUHucEJt024tNoEsltV6Tpzx9nja0wHwYDVR0jBBgwFoAUHucEJt02
4tNoEsltV6Tpzx9nja0wDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBG
AiEAsPU1WU8qO+O4vhafz4baz3f/LOTK9lpmVeW2HtY3m3QCIQD4+l02Cou1wb33
uKW2v/ZH8WsmDbusUakGvyDdn0TDLw==
-----END CERTIFICATE-----
"""
# openssl req -x509 -days 20000 -subj "/C=DE/O=A, B/CN=x"
DER = b64decode(
    "MIIBpzCCAU2gAwIBAgIUGBRlGVcvan4il7kMuNpRGf3nSG0wCgYIKoZIzj0EAwIwKDELMAkGA1UEBhMCREUxDTALBgNVBAoMBEEs"
    "IEIxCjAIBgNVBAMMAXgwIBcNMjYxMTI4MTkxNDM2WhgPMjA4MTA4MzExOTE0MzZaMCgxCzAJBgNVBAYTAkRFMQ0wCwYDVQQKDARB"
    "LCBCMQowCAYDVQQDDAF4MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExfbNi0zjli/5IMA6y7REG+v1ubaolsr2WSrM9Lb3pV5G"
    "8FQ23r8JHVcQpc4TwrXTPAc4zETeRgpfZltkjvn6dKNTMFEwHQYDVR0OBBYEFEZPIkplZIE/QaGnrMl0Sp9boJP2MB8GA1UdIwQY"
    "MBaAFEZPIkplZIE/QaGnrMl0Sp9boJP2MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgVVvTc0EOP6zxXMPMvs4V"
    "YiCukKLn6hpV9NB+oo9/TngCIQCmqOcTSg8QWzLyMTwYMC6DMhqeco43gvcnH39UBZLkTA=="
)
KEY = "-----BEGIN EC PRIVATE KEY-----\nSECRETSECRET\n-----END EC PRIVATE KEY-----\n"


def column(root: str, path: str, name: str) -> Observation[Datum]:
    row = certificates.probe(Machine(root)).observe(path)
    return cast("Record", row.value)[name] if isinstance(row, Value) else cast("Observation[Datum]", row)


def test_a_certificate_is_read_as_openssl_prints_it(make_tree: MakeTree) -> None:
    root = make_tree({"/etc/c.pem": PEM, "/etc/c.der": DER})
    at = Evidence("/etc/c.pem")
    assert column(root, "/etc/c.pem", "subject") == Value("O=system:nodes,CN=system:node:worker-1", at)
    assert column(root, "/etc/c.pem", "not_before") == Value("2026-11-28T19:14:23Z", at)
    assert column(root, "/etc/c.pem", "not_after") == Value("2036-11-25T19:14:23Z", at)
    assert column(root, "/etc/c.der", "issuer") == Value("C=DE,O=A\\, B,CN=x", Evidence("/etc/c.der"))
    assert column(root, "/etc/c.der", "not_after") == Value("2081-08-31T19:14:36Z", Evidence("/etc/c.der"))
    assert isinstance(column(root, "/etc/none.pem", "subject"), Absent)


def test_what_remains_is_negative_after_the_end(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree({"/etc/c.pem": PEM})
    end = 2111253263  # date -d 2036-11-25T19:14:23Z +%s
    for now, left in ((end - 86400, 86400), (end, 0), (end + 1, -1)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert column(root, "/etc/c.pem", "remaining") == Value(left, Evidence("/etc/c.pem"))


def test_a_private_key_is_not_read(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree({"/etc/kubelet.pem": PEM + KEY * 100, "/etc/key.pem": KEY + PEM})
    sizes: List[int] = []
    head = Machine.head

    def count(machine: Machine, path: str, size: int) -> Observation[bytes]:
        sizes.append(size)
        return head(machine, path, size)

    monkeypatch.setattr(Machine, "head", count)
    assert isinstance(column(root, "/etc/kubelet.pem", "subject"), Value)
    assert max(sizes) < len(PEM) + 128
    refused = column(root, "/etc/key.pem", "subject")
    assert isinstance(refused, Unknown)
    assert refused.reason == "refused"


@pytest.mark.parametrize(
    "text", ["", "x", PEM[:300], PEM.replace("MII", "AAA"), "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"]
)
def test_a_malformed_certificate_is_unknown(make_tree: MakeTree, text: str) -> None:
    seen = column(make_tree({"/etc/c.pem": text}), "/etc/c.pem", "not_after")
    assert isinstance(seen, Unknown)
    assert seen.reason == "malformed"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(DER)), st.integers(0, 200), st.integers(0, 255))
def test_damaged_der_is_read_or_refused(end: int, at: int, byte: int) -> None:
    data = bytearray(DER[:end])
    data[at : at + 1] = [byte]
    try:
        found = x509.parse_certificate(bytes(data))
    except ValueError:
        return
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.not_after)
