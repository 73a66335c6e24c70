"""The defenses: DEFENSES, a plain dict from the name used in links and in the shell to the class."""
from core.defenses.adaptive import adaptive
from core.defenses.base import Defense
from core.defenses.jpeg import JPEG

DEFENSES: dict[str, type[Defense]] = {
    "jpeg": JPEG,
}

__all__ = ["DEFENSES", "JPEG", "Defense", "adaptive"]
