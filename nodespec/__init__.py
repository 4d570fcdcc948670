"""Is this machine fit to join?"""

__version__ = "0.1.0"
