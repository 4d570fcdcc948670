"""Plan and facts to findings, conclusion and waivers: pure, without I/O."""
