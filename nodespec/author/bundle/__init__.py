"""Build the bundle: nodespec, specs and waivers in one Python file."""
