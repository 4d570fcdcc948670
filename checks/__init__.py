"""The families: one module a subject. Each declares facts and observes them; none judges."""

FAMILIES = (
    "kernel",
    "modules",
    "cgroups",
    "namespaces",
    "os",
    "sysctl",
    "packages",
    "runtime",
    "swap",
    "memory",
    "cpu",
    "commands",
    "ports",
    "files",
    "kubelet",
)
