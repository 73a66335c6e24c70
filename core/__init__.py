"""Epsilon Lab's engine: data, models, attacks, defenses and their evaluation (no dashboard code).

Everywhere in here an image batch is float32, NCHW, in [0, 1], and epsilon is in those units.
"""
