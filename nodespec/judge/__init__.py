"""Judge facts by a plan: findings, conclusion and waivers."""
