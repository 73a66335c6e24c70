"""What a user reads, in English, Spanish or French: `t("key", name=value)`."""
import functools
import json
from pathlib import Path

import streamlit as st

from core.errors import UserError

LANGUAGES = {"en": "English", "es": "Español", "fr": "Français"}


@functools.cache
def catalogue(language: str) -> dict[str, str]:
    """Every string of a language, by key."""
    return json.loads((Path(__file__).parent / f"{language}.json").read_text("utf-8"))


def language() -> str:
    """The language in use: chosen, else the link's, else the browser's, else English."""
    if "lang" not in st.session_state:
        asked = (st.query_params.get("lang"), (st.context.locale or "").partition("-")[0])
        st.session_state["lang"] = next((code for code in asked if code in LANGUAGES), "en")
        st.session_state["lang.chosen"] = asked[0] in LANGUAGES  # a language in the link stays in the link
    return st.session_state["lang"]


def t(key: str, /, **values) -> str:
    """The text of `key` in the user's language, its {blanks} filled."""
    text = catalogue(language())[key]
    return text.format(**values) if values else text


def explain(error: UserError) -> str:
    """A core error in the user's language."""
    return t(f"error.{error.key}", **error.values)


def class_name(name: str) -> str:
    """The name of a class: CIFAR-10's are translated, others stay as they are."""
    return catalogue(language()).get(f"class.{name}", name)


def attack_title(title: str) -> str:
    """The name of an attack: words are translated, names such as PGD stay as they are."""
    return catalogue(language()).get(f"attack.{title}", title)


def defense_title(title: str) -> str:
    """The name of a defense: words are translated, names such as JPEG stay as they are."""
    return catalogue(language()).get(f"defense.{title}", title)


def network_title(card) -> str:
    """The name of a network of MODELS: words are translated, names such as ResNet-20 stay as they are."""
    return catalogue(language()).get(f"network.{card.title}", card.title)


def architecture_title(card) -> str:
    """The name of a network's layers, whatever it was trained on."""
    return catalogue(language()).get(f"network.{card.architecture}", card.architecture)


def choice_name(choice: str) -> str:
    """A choice among a setting's; names of the field, such as 4:2:0, are the same everywhere."""
    return catalogue(language()).get(f"choice.{choice}", choice)


def count(n: int) -> str:
    """A whole number with its thousands apart, as the language writes them (Spanish from 10,000 on)."""
    if language() == "en":
        return f"{n:,}"
    return str(n) if language() == "es" and n < 10_000 else f"{n:,}".replace(",", "\u202f")


def number(value: float, digits: int) -> str:
    """A number with a decimal comma where the language has one."""
    text = f"{value:.{digits}f}"
    return text if language() == "en" else text.replace(".", ",")
