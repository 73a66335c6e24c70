"""The defenses: DEFENSES, a plain dict from the name used in links and in the shell to the class."""
from core.defenses.adaptive import adaptive, attackers
from core.defenses.base import Defense, positions, tally
from core.defenses.filters import BitDepth, GaussianBlur, Median, Threshold, TotalVariation
from core.defenses.jpeg import JPEG
from core.defenses.noise import RandomNoise
from core.defenses.stack import Stack

DEFENSES: dict[str, type[Defense]] = {
    "jpeg": JPEG,
    "threshold": Threshold,
    "bits": BitDepth,
    "median": Median,
    "blur": GaussianBlur,
    "tv": TotalVariation,
    "noise": RandomNoise,
}

__all__ = ["DEFENSES", "JPEG", "BitDepth", "Defense", "GaussianBlur", "Median", "RandomNoise", "Stack", "Threshold",
           "TotalVariation", "adaptive", "attackers", "positions", "tally"]
