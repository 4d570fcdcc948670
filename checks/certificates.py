"""X.509 certificates in files: subject, issuer and validity.

Nothing is verified, and a private key is never read: reading stops at the end of the first certificate.
"""

from __future__ import annotations

from nodespec.facts.declaration import Columns, Row, Rows, table
from nodespec.facts.value_quantities import Date, Duration
from nodespec.facts.value_types import FreeText
from nodespec.host.tree import Tree
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Dict

    from nodespec.formats.x509 import Certificate

STEP_BYTES = 128  # Bytes that are read beyond the end of a certificate at most.
MAX_PEM_BYTES = 64 << 10
DER_START = b"\x30"


def _validate_path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or ".." in text.split("/"):
        raise ValueError(f"`{text}` is not an absolute path without `..`")
    return "/" + "/".join(name for name in text.split("/") if name not in ("", "."))


@table(
    {
        "subject": FreeText(),
        "issuer": FreeText(),
        "not_before": Date(),
        "not_after": Date(),
        "remaining": Duration(),
    },
    sources=("/*",),
    noun="certificate",
    key=_validate_path,
    same_at_rest=True,
    moves=("remaining",),
)
def certificates(tree: Tree) -> Rows[Row]:
    """The first certificate of a file in PEM or DER, by path.

    `subject` and `issuer` are written as `O=system:nodes,CN=system:node:worker-1`, in the order of the certificate.
    `remaining` is the time until `not_after` by the clock of the host that runs nodespec; it is negative after it. The
    client certificate of a kubelet is /var/lib/kubelet/pki/kubelet-client-current.pem.
    """
    rows: Dict[str, Observation[Row]] = {}

    def find_row(path: str) -> Observation[Row]:
        if path not in rows:
            rows[path] = _read_certificate(tree, path).then(lambda found: _make_row(path, found))
        return rows[path]

    return Rows(find_row, dict, Absent(Evidence("/*")))


def _read_certificate(tree: Tree, path: str) -> Observation[Certificate]:
    from nodespec.formats import x509  # noqa: PLC0415 - only needed for a certificate

    size = STEP_BYTES // 2  # The line that names what follows.
    while True:
        head = tree.head(path, size)
        if not isinstance(head, Value):
            return head
        data = head.value
        if data.startswith(DER_START):
            return tree.read(path, x509.MAX_CERTIFICATE_BYTES).then(x509.parse_certificate)
        if b"PRIVATE KEY" in data.partition(x509.BEGIN)[0]:
            return Unknown("refused", f"{path} begins with a private key, which nodespec does not read")
        if x509.END in data or len(data) < size:
            return head.then(lambda content: x509.parse_certificate(x509.decode_pem(content)))
        if size >= MAX_PEM_BYTES:
            return Unknown("malformed", f"{path}: no certificate in the first {MAX_PEM_BYTES} bytes")
        size += STEP_BYTES


def _make_row(path: str, certificate: Certificate) -> Columns:
    at = Evidence(path)
    return Columns(
        subject=lambda: Value(certificate.subject, at),
        issuer=lambda: Value(certificate.issuer, at),
        not_before=lambda: Value(certificate.not_before, at),
        not_after=lambda: Value(certificate.not_after, at),
        remaining=lambda: Value(certificate.not_after, at).then(_measure_remaining),
    )


def _measure_remaining(moment: str) -> int:
    """Return the seconds until a moment such as 2026-12-31T23:59:59Z."""
    import calendar  # noqa: PLC0415 - only needed for a certificate
    import time  # noqa: PLC0415 - likewise

    return int(calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")) - time.time())
