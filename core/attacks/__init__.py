"""The attacks: ATTACKS, a plain dict from the name used in links and in the shell to the class."""
from core.attacks.base import Attack, AttackResult, OneStep
from core.attacks.fast_gradient import FGM, FGSM
from core.attacks.noise import UniformNoise, UniformNoiseL2
from core.attacks.pgd import PGD, PGDL2

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "fgm": FGM,
    "pgd": PGD,
    "pgd-l2": PGDL2,
    "noise": UniformNoise,
    "noise-l2": UniformNoiseL2,
}

__all__ = ["ATTACKS", "FGM", "FGSM", "PGD", "PGDL2", "Attack", "AttackResult", "OneStep", "UniformNoise",
           "UniformNoiseL2"]
