"""Families of facts: one module a subject. Each observes facts; none judges them."""

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
    "services",
    "time",
    "security",
    "network",
    "machine",
)
