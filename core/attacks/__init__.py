"""The attacks: ATTACKS, a plain dict from the name used in links and in the shell to the class."""
from core.attacks.apgd import APGD, APGDL2, APGDT, APGDTL2
from core.attacks.base import Attack, AttackResult, Bounded, OneStep, Search, Searched, Smallest
from core.attacks.carlini_wagner import CarliniWagner
from core.attacks.deepfool import DeepFool
from core.attacks.fast_gradient import FGM, FGSM
from core.attacks.momentum import MIFGSM
from core.attacks.noise import Noise, NoiseL2
from core.attacks.one_pixel import OnePixel
from core.attacks.pgd import PGD, PGDL2
from core.attacks.random_search import RandomSearch, RandomSearchL2
from core.attacks.square import Square, SquareL2
from core.attacks.strong import Strong, StrongL2

ATTACKS: dict[str, type[Attack]] = {
    "fgsm": FGSM,
    "fgm": FGM,
    "pgd": PGD,
    "pgd-l2": PGDL2,
    "mi-fgsm": MIFGSM,
    "apgd": APGD,
    "apgd-l2": APGDL2,
    "apgd-t": APGDT,
    "apgd-t-l2": APGDTL2,
    "deepfool": DeepFool,
    "cw": CarliniWagner,
    "random-search": RandomSearch,
    "random-search-l2": RandomSearchL2,
    "square": Square,
    "square-l2": SquareL2,
    "strong": Strong,
    "strong-l2": StrongL2,
    "one-pixel": OnePixel,
    "noise": Noise,
    "noise-l2": NoiseL2,
}

__all__ = ["APGD", "APGDL2", "APGDT", "APGDTL2", "ATTACKS", "FGM", "FGSM", "MIFGSM", "PGD", "PGDL2", "Attack", "AttackResult",
           "Bounded", "CarliniWagner", "DeepFool", "Noise", "NoiseL2", "OnePixel", "OneStep", "RandomSearch",
           "RandomSearchL2", "Search", "Searched", "Smallest", "Square", "SquareL2", "Strong", "StrongL2"]
