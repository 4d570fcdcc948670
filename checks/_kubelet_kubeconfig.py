"""Whether the kubeconfig of the kubelet is complete: context, cluster, authority and credentials.

A certificate is read, a private key is not: only its file must exist.
"""

from __future__ import annotations

from posixpath import join

from nodespec.checks import _kubelet_command
from nodespec.formats.data_tree import DataNode, UnsupportedSyntaxError, find_node
from nodespec.light_typing import TYPE_CHECKING
from nodespec.model.observation import Absent, Evidence, Observation, Unknown, Value

if TYPE_CHECKING:
    from typing import Optional

    from nodespec.host.tree import Tree

DEFAULT_PATH = "/etc/kubernetes/kubelet.conf"
MAX_TEXT_BYTES = 1 << 20
# What a user may have instead of a certificate.
OTHER_CREDENTIALS = ("token", "tokenFile", "exec", "auth-provider", "username")


def check_kubeconfig(tree: Tree) -> Observation[str]:
    """Return `complete`, or what the kubeconfig lacks."""
    command = _kubelet_command.read_command(tree)
    if isinstance(command, Unknown):
        return command
    path = (command.value.get("kubeconfig") if isinstance(command, Value) else "") or DEFAULT_PATH
    text = tree.text(path, MAX_TEXT_BYTES)
    if not isinstance(text, Value):
        return text
    from nodespec.formats import yaml  # noqa: PLC0415 - only needed if a node has joined

    try:
        root = yaml.parse(text.value)
    except UnsupportedSyntaxError as error:
        return Unknown("unsupported", f"{path}: {error}")
    except ValueError as error:
        return Unknown("malformed", f"{path}: {error}")
    return _Kubeconfig(tree, path, root).check()


class _Kubeconfig:
    """A parsed kubeconfig. Relative paths in it are those of its directory."""

    def __init__(self, tree: Tree, path: str, root: DataNode) -> None:
        self.tree, self.path, self.root = tree, path, root

    def check(self) -> Observation[str]:
        context = self.find("contexts", self.get(self.root, "/current-context"), "/context")
        if context is None:
            return self.answer("no-context", self.root)
        cluster = self.find("clusters", self.get(context, "/cluster"), "/cluster")
        if cluster is None or not self.get(cluster, "/server"):
            return self.answer("no-cluster", cluster or context)
        user = self.find("users", self.get(context, "/user"), "/user")
        lacking = self.check_certificate(cluster, "certificate-authority", "no-authority")
        if lacking is None and user is None:
            lacking = self.answer("no-user", context)
        elif lacking is None and user is not None and not any(self.get(user, f"/{name}") for name in OTHER_CREDENTIALS):
            lacking = self.check_certificate(user, "client-certificate", "no-user") or self.check_key(user)
        return lacking or self.answer("complete", self.root)

    def answer(self, word: str, node: DataNode) -> Value[str]:
        return Value(word, Evidence(self.path, node.line))

    @staticmethod
    def get(node: DataNode, pointer: str) -> str:
        """Return the text at a pointer, `{}` for a collection, or an empty text."""
        found = find_node(node, pointer)
        if found is None or found.value in ("null", ""):
            return ""
        return found.value if isinstance(found.value, str) else "{}"

    def find(self, kind: str, name: str, pointer: str) -> Optional[DataNode]:
        """Return the content of the named entry of a list."""
        entries = find_node(self.root, f"/{kind}")
        for entry in entries.value if entries and isinstance(entries.value, list) else ():
            if name and self.get(entry, "/name") == name:
                return find_node(entry, pointer)
        return None

    def check_certificate(self, node: DataNode, field: str, word: str) -> Optional[Observation[str]]:
        """Return why a certificate is not complete, or None. It is in the file, or in a file that it names."""
        from nodespec.checks.certificates import certificates  # noqa: PLC0415 - only needed here
        from nodespec.formats import x509  # noqa: PLC0415 - likewise

        data, path = self.get(node, f"/{field}-data"), self.get(node, f"/{field}")
        if data:
            try:
                x509.parse_certificate(x509.decode_pem(x509.decode_base64(data.encode())))
            except ValueError:
                return self.answer(word, node)
            return None
        if not path:
            return self.answer(word, node)
        row = certificates.probe(self.tree).observe(join(self.path.rpartition("/")[0], path))  # type: ignore[arg-type]
        if isinstance(row, Unknown) and row.reason != "malformed":
            return row
        return None if isinstance(row, Value) else self.answer(word, node)

    def check_key(self, user: DataNode) -> Optional[Observation[str]]:
        """Return why the private key does not exist, or None. It is not read."""
        path = self.get(user, "/client-key")
        if self.get(user, "/client-key-data"):
            return None
        entry = self.tree.entry(join(self.path.rpartition("/")[0], path)) if path else Absent(Evidence(self.path))
        if isinstance(entry, Unknown):
            return entry
        return None if isinstance(entry, Value) else self.answer("no-user", user)
