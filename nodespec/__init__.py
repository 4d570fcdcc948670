"""Is this machine fit to join?"""

__version__ = "0.1.0"
BUILT = "2026-11-21"  # the day of this version: a clock that says less is wrong, and no waiver is judged by it
