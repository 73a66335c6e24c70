"""Registries and dataclass fields -> widgets -> what a page computes with."""
import hashlib
import random
from dataclasses import dataclass

import numpy as np
import streamlit as st
from torch import nn

from core import data
from core.attacks import ATTACKS
from core.data import DataSet
from core.defenses import DEFENSES
from core.epsilons import scale_for
from core.errors import UserError
from core.images import as_seen, read_upload
from core.models import loading
from core.models.cards import ARCHITECTURES, MODELS, ModelCard
from core.settings import Setting, settings_of
from dashboard import cache
from dashboard.i18n import (architecture_title, attack_title, choice_name, class_name, count, defense_title, explain,
                            network_title, number, t)
from dashboard.picker import picker

THUMBNAILS = 24
ANY = -1  # in a menu of classes; None would give the menu a button to clear it


@dataclass(frozen=True)
class Subject:
    """One image: its own few bytes, its label where it is known, and where it came from."""

    pixels: bytes
    shape: tuple[int, int, int]
    label: int | None
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A model of the menu: its card, the loaded module, and what tells it apart in caches and links."""

    card: ModelCard
    module: nn.Module
    key: tuple
    title: str


@dataclass(frozen=True)
class Choice:
    """An entry of a registry with its settings: `build()` gives the instance."""

    name: str
    settings: tuple
    kind: type

    def build(self, **more):
        return self.kind(**dict(self.settings), **more)


def data_sets() -> dict[str, data.Entry]:
    """What is here, by the name that links use: mnist/sample, cifar10/test ..."""
    return {f"{entry.name}/{entry.split}": entry for entry in data.available(data.data_directory())}


def data_title(name: str) -> str:
    """'MNIST · held-out digits', 'CIFAR-10 · test', or a user's own name and split."""
    base, _, split = name.rpartition("/")
    known = {"mnist": "MNIST", "cifar10": "CIFAR-10", "mnist-37": t("data.mnist-37")}.get(base, base)
    if split == "sample":
        return f"{known} · {t('data.sample.' + ('cifar10' if base == 'cifar10' else 'mnist'))}"
    return f"{known} · {t('data.split.' + split) if split in ('train', 'test') else split}"


def load_data(name: str) -> DataSet | None:
    """The data set called `name`; None, and one sentence on the page, when its files are damaged."""
    base, _, split = name.rpartition("/")
    try:
        return cache.dataset(base, split, str(data.data_directory()))
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
        return None


def data_menu(page: str, on_change=None, without: str = "") -> DataSet | None:
    """Choose a data set, of any split but `without`."""
    names = [name for name, entry in data_sets().items() if entry.split != without]
    chosen = st.selectbox(t("control.data"), names, format_func=data_title, key=f"{page}.data",
                          persist_state="session", on_change=on_change)
    return load_data(chosen)


def image_menu(page: str, dataset: DataSet) -> Subject:
    """Thumbnails by class, random, index, or an upload."""
    key = f"{page}.index"
    st.session_state.setdefault(key, 0)
    if st.session_state[key] >= len(dataset):
        st.session_state[key] = 0
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    kinds = [ANY, *(c for c in range(len(dataset.classes)) if counts[c])]
    left, right = st.columns([11, 9], vertical_alignment="bottom")
    kind = left.selectbox(t("control.class"), kinds, key=f"{page}.class", persist_state="session",
                          format_func=lambda c: t("control.class.all") if c == ANY else class_name(dataset.classes[c]))
    among = np.arange(len(dataset)) if kind == ANY else np.flatnonzero(dataset.labels == kind)
    right.button(t("control.random"), icon=":material/shuffle:", width="stretch", key=f"{page}.random",
                 on_click=lambda: st.session_state.update({key: int(random.choice(among)), f"{page}.upload": None}))
    place = int(np.searchsorted(among, st.session_state[key]))
    first = min(place // THUMBNAILS * THUMBNAILS, max(0, len(among) - 1) // THUMBNAILS * THUMBNAILS)
    shown = among[first:first + THUMBNAILS]
    uploaded = st.session_state.get(f"{page}.upload")
    in_use = bool(uploaded) and uploaded[0] == dataset.shape
    picker(dataset.images[shown], shown, -1 if in_use else st.session_state[key],
           [class_name(dataset.classes[label]) for label in dataset.labels[shown]], key=f"{page}.picker",
           on_pick=lambda index: st.session_state.update({key: index, f"{page}.upload": None}))
    left, right = st.columns([11, 9], vertical_alignment="bottom")
    left.number_input(t("control.index"), 0, len(dataset) - 1, key=key, persist_state="session",
                      on_change=lambda: st.session_state.update({f"{page}.upload": None}))
    with right.popover(t("control.upload"), icon=":material/upload:", width="stretch"):
        _upload(page, dataset)
    if in_use:
        st.caption(t("upload.in_use"))
        return Subject(uploaded[1], dataset.shape, None, dataset.classes)
    index = st.session_state[key]
    return Subject(dataset.images[index].tobytes(), dataset.shape, int(dataset.labels[index]), dataset.classes)


def _upload(page: str, dataset: DataSet) -> None:
    """Read an image, show it beside what the network will see of it, and offer to use it."""
    file = st.file_uploader(t("upload.label"), ["png", "jpg", "jpeg", "webp", "bmp", "gif"], key=f"{page}.file")
    if file is None:
        st.caption(t("upload.help.digit" if dataset.shape[1] == 28 else "upload.help.photo"))
        return
    invert = None
    if dataset.shape[1] == 28:
        mode = st.segmented_control(t("upload.invert"), ["auto", "yes", "no"], default="auto", required=True,
                                    format_func=lambda name: t(f"upload.invert.{name}"), key=f"{page}.invert")
        invert = {"yes": True, "no": False}.get(mode)
    try:
        image = read_upload(file.getvalue(), file.name)
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
        return
    seen = as_seen(image, dataset.shape, invert)
    left, right = st.columns(2)
    image.thumbnail((400, 400))
    left.image(image, t("upload.yours"), width="stretch")
    right.image(np.kron(seen, np.ones((8, 8) + (1,) * (seen.ndim - 2), np.uint8)), t("upload.seen"), width="stretch")
    st.button(t("upload.use"), type="primary", width="stretch",
              on_click=lambda: st.session_state.update({f"{page}.upload": (dataset.shape, seen.tobytes())}))


def model_menu(page: str, dataset: DataSet) -> Network | None:
    """The networks that read this data set's images, the user's own checkpoints among them."""
    left, right = st.columns([11, 9], vertical_alignment="bottom")
    names = model_names(dataset)
    if st.session_state.get(f"{page}.model") not in names:
        st.session_state[f"{page}.model"] = names[0]
    name = left.selectbox(t("control.model"), own_first(names), format_func=model_title, key=f"{page}.model",
                          persist_state="session")
    with right.popover(t("control.own"), icon=":material/upload_file:", width="stretch"):
        _own_checkpoint(page, dataset)
    score = MODELS[name].measured.get("accuracy") if name in MODELS else None
    if score:
        st.caption(t("model.card", accuracy=number(100 * score["accuracy"], 1), n=count(score["n"]),
                     low=number(100 * score["low"], 1), high=number(100 * score["high"], 1)))
    if own_networks().get(name, {}).get("seen") == (data.whole_of(dataset.name), dataset.split):
        st.caption(t("own.seen.sample" if dataset.split == "sample" else "own.seen"))
    return network(name)


def model_names(dataset: DataSet) -> list[str]:
    """The networks that read images of this size and know their classes: the shipped ones, then the user's
    checkpoints."""
    return [*(n for n, card in MODELS.items() if card.weights.is_file() and _reads(card, dataset)),
            *(n for n, own in own_networks().items() if _reads(MODELS[own["architecture"]], dataset))]


def _reads(card: ModelCard, dataset: DataSet) -> bool:
    return card.shape == dataset.shape and card.knows(dataset.labels)


def own_first(names: list[str]) -> list[str]:
    """The same networks as a menu lists them: the user's own on top, the latest first. Browsers draw but the first few
    of a long menu."""
    return [*(name for name in reversed(names) if name not in MODELS), *(name for name in names if name in MODELS)]


def network(name: str) -> Network | None:
    """Load a model of the menu; None and one sentence when that cannot be done."""
    own = own_networks().get(name)
    try:
        if own:
            module = cache.model(own["architecture"], own["digest"], own["mean"], own["std"], _content=own["content"])
            return Network(MODELS[own["architecture"]], module, (own["digest"], own["mean"], own["std"]), name)
        return Network(MODELS[name], cache.model(name), (name,), network_title(MODELS[name]))
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
        return None


def model_title(name: str) -> str:
    """A network's name in the user's language, or the file name of a user's own checkpoint."""
    return network_title(MODELS[name]) if name in MODELS else name


def weights_of(name: str) -> str:
    """The digest of a user's checkpoint, '' for a shipped network."""
    return own_networks().get(name, {}).get("digest", "")


def own_networks() -> dict[str, dict]:
    """The user's checkpoints and trainings of this session, by name."""
    return st.session_state.setdefault("own_checkpoints", {})


def keep_network(name: str, own: dict) -> str:
    """Into the user's networks, numbered where another one has that name already; the name that it got."""
    taken, free, k = own_networks(), name, 1
    while free in MODELS or (free in taken and taken[free]["digest"] != own["digest"]):
        k += 1
        free = f"{name} ({k})"
    taken[free] = own
    return free


def seen(note: dict | None) -> tuple[str, str] | None:
    """The data that a file says it was trained on: name and split."""
    known = (note or {}).get("data")
    return (data.whole_of(str(known.get("name"))), str(known.get("split"))) if isinstance(known, dict) else None


def _own_checkpoint(page: str, dataset: DataSet) -> None:
    file = st.file_uploader(t("own.file"), ["safetensors", "pth", "pt"], key=f"{page}.own.file")
    note = loading.note_of(file.getvalue()) if file else None  # what was trained here says what it is
    if note and MODELS[note["architecture"]].shape == dataset.shape:
        card, mean, std = MODELS[note["architecture"]], tuple(note["mean"]), tuple(note["std"])
        st.caption(t("own.known", model=architecture_title(card)))
    else:
        cards = [MODELS[name] for name in reversed(ARCHITECTURES.values()) if MODELS[name].shape == dataset.shape]
        card = st.selectbox(t("own.architecture"), cards, format_func=architecture_title, key=f"{page}.own.architecture")
        mean = st.text_input(t("own.mean"), ", ".join(map(str, card.mean)), key=f"{page}.own.mean.{card.name}")
        std = st.text_input(t("own.std"), ", ".join(map(str, card.std)), key=f"{page}.own.std.{card.name}")
        st.caption(t("own.help.photo" if card.shape[0] == 3 else "own.help.digit"))
    if file is None or not st.button(t("own.use"), type="primary", width="stretch", key=f"{page}.own.use"):
        return
    content = file.getvalue()
    try:
        numbers = [_numbers(text, card.shape[0]) if isinstance(text, str) else text for text in (mean, std)]
        digest = hashlib.sha256(content + repr((card.name, numbers)).encode()).hexdigest()
        try:
            cache.model(card.name, digest, *numbers, _content=content)
        except UserError as error:  # core does not know what the user called the file
            if "name" in error.values:
                error = UserError(error.key, **{**error.values, "name": file.name})
            raise error
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
        return
    name = keep_network(file.name, {"architecture": card.name, "digest": digest, "mean": numbers[0], "std": numbers[1],
                                    "content": content, "seen": seen(note)})
    st.session_state["own.chosen"] = (page, name)  # widgets cannot be set after they are drawn: next run
    st.rerun()


def take_own_checkpoint(page: str) -> None:
    """Select the checkpoint that was just added. Called before the menu is drawn."""
    chosen = st.session_state.get("own.chosen")
    if chosen and chosen[0] == page:
        st.session_state[f"{page}.model"] = chosen[1]
        del st.session_state["own.chosen"]


def _numbers(text: str, channels: int) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.replace(";", ",").split(","))
    except ValueError as error:
        raise UserError("checkpoint.normalisation", channels=channels) from error


def attack_menu(page: str, names: list[str] | None = None) -> Choice:
    """An attack with its settings (epsilon is the live slider's, or a curve's axis), among `names` where given."""
    name = st.selectbox(t("control.attack"), names or list(ATTACKS), format_func=lambda n: attack_title(ATTACKS[n].title),
                        key=f"{page}.attack", persist_state="session")
    return Choice(name, _settings(page, ATTACKS[name], hidden=("eps",)), ATTACKS[name])


def epsilon_slider(page: str, shape: tuple, kind: type) -> float | None:
    """Epsilon within the usual range of this image size and norm; None for an attack without one."""
    if not kind.bounded:
        return None
    scale = scale_for(shape, kind.norm)
    per = 255 if scale.per_255 else 1
    label = t("control.eps255") if scale.per_255 else t(f"control.eps.{kind.norm}")
    key = f"{page}.eps.{shape[1]}.{kind.norm}"
    st.session_state.setdefault(key, round(scale.start * per, 3))
    step = 0.5 if scale.per_255 else 0.01 if kind.norm == "linf" else 0.05
    return st.slider(label, 0.0, round(scale.path[-1] * per, 3), step=step, key=key, persist_state="session") / per


def epsilon_axis(shape: tuple, norm: str) -> str:
    """What an axis of epsilon, or of distances, is called for this image size and norm."""
    if scale_for(shape, norm).per_255:
        return t("live.axis255")
    return t({"l2": "live.axisL2", "l0": "live.axisL0"}.get(norm, "live.axis"))


def shared_settings(page: str, kinds: list[type]) -> dict[type, tuple]:
    """The settings of several attacks at once: one that is declared alike in several is asked once."""
    declared = {kind: [each for each in settings_of(kind) if each.name != "eps"] for kind in kinds}
    first = {each: kind for kind in reversed(kinds) for each in declared[kind]}
    names = [each.name for each in first]
    asked = {}
    for kind in kinds:
        mine = [each for each in declared[kind] if first[each] is kind]
        titles = {each.name: attack_title(kind.title) for each in mine if names.count(each.name) > 1}
        asked |= dict(zip(mine, (value for _, value in _widgets(page, mine, titles))))
    return {kind: tuple((each.name, asked[each]) for each in declared[kind]) for kind in kinds}


def defense_menu(page: str, grey: bool, slider: bool = False) -> Choice | None:
    """A defense with its settings, or none. The one of its slider is the live slider's, unless `slider` asks for it."""
    name = st.selectbox(t("control.defense"), [*DEFENSES, "none"], key=f"{page}.defense", persist_state="session",
                        format_func=lambda n: defense_title(DEFENSES[n].title) if n in DEFENSES else t("control.defense.none"))
    if name == "none":
        return None
    kind = DEFENSES[name]
    return Choice(name, defense_settings(page, kind, grey, hidden=() if slider else (kind.slider,)), kind)


def defense_name(name: str, settings: tuple) -> str:
    """'JPEG 40': a defense and where its slider stands."""
    value = dict(settings)[DEFENSES[name].slider]
    return f"{defense_title(DEFENSES[name].title)} {value if isinstance(value, int) else number(value, 2)}"


def defense_settings(page: str, kind: type, grey: bool, hidden: tuple[str, ...] = ()) -> tuple:
    """(name, value) of a defense's settings but `hidden`. Grey images have no colour channels to thin out."""
    return _settings(page, kind, (*hidden, "subsampling") if grey else hidden)


def setting_key(page: str, each: Setting) -> str:
    """Where a setting's value is kept: attacks that declare a setting alike share it, others have their own."""
    return f"{page}.set.{each.name}.{each.default}.{each.low}.{each.high}"


def _settings(page: str, kind: type, hidden: tuple[str, ...]) -> tuple:
    """(name, value) of the settings of `kind` that are not hidden."""
    return _widgets(page, [each for each in settings_of(kind) if each.name not in hidden], {})


def _widgets(page: str, fields: list[Setting], titles: dict[str, str]) -> tuple:
    """Each setting through the widget that fits it: numbers in pairs, the rest over the whole width. `titles` says
    whose setting it is where several of the same name are asked."""
    numbers = [each for each in fields if not each.choices and each.kind is not bool]
    places = {}
    for k in range(0, len(numbers), 2):
        for each, column in zip(numbers[k:k + 2], st.columns(2, vertical_alignment="bottom")):
            places[each.name] = column
    return tuple((each.name, _widget(setting_key(page, each), each, places.get(each.name, st), titles.get(each.name)))
                 for each in fields)


def _widget(key: str, setting: Setting, place, whose: str | None):
    label = t(f"setting.{setting.name}") + (f" · {whose}" if whose else "")
    words = {"help": t(f"setting.{setting.name}.help"), "key": key, "persist_state": "session"}
    st.session_state.setdefault(key, setting.default)
    if setting.choices:
        return place.selectbox(label, setting.choices, format_func=choice_name, **words)
    if setting.kind is bool:
        return place.toggle(label, **words)
    low, high, step = (setting.kind(value) for value in (setting.low, setting.high, setting.step))
    return place.number_input(label, low, high, step=step, format="%d" if setting.kind is int else "%.3f", **words)


def target_menu(page: str, subject: Subject) -> int | None:
    """Any other class, or one to steer towards."""
    kinds = [ANY, *(c for c in range(min(10, len(subject.classes))) if c != subject.label)]
    if st.session_state.get(f"{page}.target") not in kinds:
        st.session_state[f"{page}.target"] = ANY
    chosen = st.selectbox(t("control.target"), kinds, key=f"{page}.target", persist_state="session",
                          format_func=lambda c: t("control.target.any") if c == ANY else class_name(subject.classes[c]))
    return None if chosen == ANY else chosen


def progress_room(place=st):
    """An empty place for a progress bar or for what follows it; its room is kept, so that nothing below jumps."""
    return place.container(key="progress").empty()
