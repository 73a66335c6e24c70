"""The three catalogues say the same things, and the dashboard says nothing that is not in them."""
import ast
import json
import re
from pathlib import Path

import pytest

from core.attacks import ATTACKS
from core.data import CIFAR10_CLASSES
from core.defenses import DEFENSES
from core.errors import MESSAGES
from core.models.cards import ARCHITECTURES, MODELS
from core.settings import settings_of
from dashboard import live

DASHBOARD = Path(live.__file__).parent
LANGUAGES = {path.stem: json.loads(path.read_text("utf-8")) for path in (DASHBOARD / "i18n").glob("*.json")}
ENGLISH = LANGUAGES["en"]
SOURCES = sorted(DASHBOARD.rglob("*.py"))
# Names and words that are spelt alike in two of the languages.
ALIKE = re.compile(r"live\.(axisL2|original|png|defended|noise)|setting\.step_size|upload\.invert\.(auto|no)|own\.arch.*"
                   r"|train\.pause|evidence\.hardening\.tuned"
                   r"|saliency\.(method\..*|headline|layer|perturbation|images)"
                   r"|control\.eps\.(linf|l2)|setting\.(rho|kind|population|pixels)|targets\.(original|download)"
                   r"|minimal\.images|targets\.mode|blackbox\.pixels|choice\..*|attack\..*|live\.no|control\.index|curves\.(norm|n)|page\..*|data\.(class|count)|data\.split\.test|class\..*")
NAMES = {"5 x LeNet-5", "LeNet-5 (RGB)"}  # titles of networks without a word to translate
SHOWING = {"title", "header", "subheader", "write", "markdown", "caption", "info", "success", "error", "warning", "button",
           "selectbox", "multiselect", "toggle", "slider", "number_input", "text_input", "popover", "expander", "toast"}


def blanks(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


@pytest.mark.parametrize("language", ["es", "fr"])
def test_catalogues_have_the_same_keys_and_blanks(language):
    other = LANGUAGES[language]
    assert list(other) == list(ENGLISH)
    assert {key for key in ENGLISH if blanks(ENGLISH[key]) != blanks(other[key])} == set()
    assert all(text.strip() for text in other.values())


@pytest.mark.parametrize("language", ["es", "fr"])
def test_nothing_is_left_in_english(language):
    same = {key for key, text in LANGUAGES[language].items() if text == ENGLISH[key] and not ALIKE.fullmatch(key)}
    assert same == set()


def test_errors_of_core_are_translated_and_the_english_is_cores():
    assert {key: ENGLISH.get(f"error.{key}") for key in MESSAGES} == MESSAGES


def test_registries_and_the_live_panel_have_their_words():
    needed = {f"setting.{each.name}{ending}" for kind in (*ATTACKS.values(), *DEFENSES.values())
              for each in settings_of(kind) if each.name != "eps" for ending in ("", ".help")}
    needed |= {f"attack.{kind.title}" for kind in ATTACKS.values() if " " in kind.title.partition(" (")[0]}
    needed |= {f"defense.{kind.title}" for kind in DEFENSES.values() if kind.title != "JPEG"}
    needed |= set(re.findall(r'"(nav\.[a-z]+)"', (DASHBOARD / "app.py").read_text("utf-8")))
    needed |= {f"network.{card.title}" for card in MODELS.values() if " " in card.title and card.title not in NAMES}
    needed |= {f"network.{name}" for name in ARCHITECTURES if re.search(" [a-z]|Wide", name) and name not in NAMES}
    needed |= {f"live.{word}" for word in live.WORDS} | {f"class.{name}" for name in CIFAR10_CLASSES}
    assert needed - set(ENGLISH) == set()
    assert {key for key in ENGLISH if key.startswith("network.")} <= {
        f"network.{name}" for card in MODELS.values() for name in (card.title, card.architecture)}


def asked() -> tuple[set[str], set[str]]:
    """Keys that the code passes to t(), and the constant beginnings of those that it puts together."""
    keys, beginnings = set(), set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign) and node.targets[0].__class__ is ast.Tuple:  # TITLE, ICON, URL of a page
                keys |= {part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)
                         and str(part.value).startswith("page.")}
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t" and node.args):
                continue
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.JoinedStr):
                    beginnings.add(part.values[0].value)
                elif isinstance(part, ast.Constant) and "." in str(part.value)[1:]:
                    (beginnings if part.value.endswith(".") else keys).add(part.value)
    return keys, {beginning for beginning in beginnings if isinstance(beginning, str)}


def test_every_key_that_the_code_asks_for_exists_and_every_key_is_asked_for():
    keys, beginnings = asked()
    assert keys - beginnings - set(ENGLISH) == set()
    assert {b for b in beginnings if not any(key.startswith(b) for key in ENGLISH)} == set()
    unused = {key for key in ENGLISH if key not in keys and not key.startswith((*beginnings, "class.", "attack.", "choice.", "network.",
                                                         "defense.", "nav."))}
    assert unused == set()


def test_no_words_go_to_the_page_but_through_the_catalogues():
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SHOWING and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str) and len(first.value) > 3:
                    found.append((path.name, first.value))
    assert found == []
