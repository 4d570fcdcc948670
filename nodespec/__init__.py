"""Check whether a machine is ready to join a cluster."""

__version__ = "0.1.0"
BUILT = "2026-11-21"  # Release date. A clock that is earlier is wrong, so waivers are not judged by it.
