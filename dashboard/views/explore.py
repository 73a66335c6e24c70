"""One image, live: drag epsilon or JPEG quality and watch the network change its mind."""
import contextlib
import time

import streamlit as st

from core.attacks import ATTACKS
from core.defenses import DEFENSES
from core.epsilons import slider_for
from core.evaluation import require_fit
from core.models.cards import MODELS
from core.settings import settings_of
from dashboard import cache, controls, link, live
from dashboard.scrubber import scrubber

TITLE, ICON, URL = "page.explore", ":material/search:", "explore"
PAGE = "explore"
FIRST_DIGIT, FIRST_PHOTO = 4155, 1  # images that the default network misreads at the default epsilon
QUALITY = 40


def _readers() -> dict:
    """What a link may say, and how it is read."""
    attack = ATTACKS.get(st.query_params.get("attack"), ATTACKS["fgsm"])
    readers = {
        "data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
        "model": (f"{PAGE}.model", link.one_of(MODELS)),
        "attack": (f"{PAGE}.attack", link.one_of(ATTACKS)),
        "target": (f"{PAGE}.target", link.between(int, 0, 999)),
        "defense": (f"{PAGE}.defense", link.one_of([*DEFENSES, "none"])),
        "eps": (f"{PAGE}.eps", link.between(float, 0, 100)),
        "quality": (f"{PAGE}.quality", link.between(int, 1, 100)),
    }
    for each in (*settings_of(attack), *settings_of(DEFENSES["jpeg"])):
        if each.name not in ("eps", "quality"):
            readers[each.name] = (controls.setting_key(PAGE, each), link.setting(each))
    return readers


def _first_image() -> None:
    """Another data set starts at its own first image and its own range of epsilon."""
    first = {"mnist/sample": FIRST_DIGIT, "cifar10/sample": FIRST_PHOTO}.get(st.session_state[f"{PAGE}.data"], 0)
    st.session_state.update({f"{PAGE}.index": first, f"{PAGE}.upload": None, f"{PAGE}.class": controls.ANY})


def render() -> None:
    """Controls in the sidebar, the live panel in the page."""
    link.restore(PAGE, _readers())
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.index", FIRST_DIGIT)
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=_first_image)
        if dataset is None:
            return
        subject = controls.image_menu(PAGE, dataset)
        network = controls.model_menu(PAGE, dataset)
        attack = controls.attack_menu(PAGE)
        target = controls.target_menu(PAGE, subject)
        defense = controls.defense_menu(PAGE, grey=dataset.shape[0] == 1)
    if network is not None:
        require_fit(network.card, dataset)
        _live(subject, network, attack, target, defense)


@st.fragment
def _live(subject: controls.Subject, network: controls.Network, attack: controls.Choice, target: int | None,
          defense: controls.Choice | None) -> None:
    built = attack.build()
    name = live.scale_name(subject.shape, built)
    scale = slider_for(subject.shape, built)
    epsilon, quality = _sliders(name, scale.start)
    key = (network.key, subject.shape, subject.pixels, subject.label, target, attack.name, attack.settings)
    epsilons = scale.path
    at = live.nearest(epsilons, epsilon)
    begun = st.session_state.setdefault(f"{PAGE}.begun", set())
    partial = built.iterated and key not in begun and at > 0
    path = cache.path(*key, (0.0, epsilons[at]) if partial else epsilons, _model=network.module)
    row = column = None
    if defense is not None:
        settings = (*defense.settings, (defense.kind.slider, quality))
        row = cache.defended((key, path.epsilons), defense.name, settings, _model=network.module, _images=path.adversarial)
        if not partial:
            column = cache.over_slider((key, at), defense.name, defense.settings, _model=network.module,
                                       _image=path.adversarial[at:at + 1])
    scrubber(live.message(key, path, built, subject.shape, subject.classes, subject.label, target, at, quality,
                          row, column), key=f"{PAGE}.panel")
    _write_link(subject, network, attack, target, defense, epsilons[at], quality)
    if partial:  # the chosen epsilon is on screen first, the rest of the path follows
        begun.add(key)
        time.sleep(0.05)  # a new run drops what the last one has not sent yet
        st.rerun()


def _sliders(scale: str, start: float) -> tuple[float, int]:
    """Where epsilon and quality stand: as last released on this range, else as the link says, else the start."""
    state = st.session_state
    released = (state.get(f"{PAGE}.panel") or {}).get("release")
    if released != state.get(f"{PAGE}.released"):
        state[f"{PAGE}.released"] = released
        with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):  # what a browser sends may be anything
            if released["scale"] == scale:
                state[f"{PAGE}.eps"] = float(released["epsilon"])
            state[f"{PAGE}.quality"] = min(100, max(1, int(released["quality"])))
    if state.setdefault(f"{PAGE}.scale", scale) != scale:
        state.update({f"{PAGE}.scale": scale, f"{PAGE}.eps": start})
    return state.setdefault(f"{PAGE}.eps", start), state.setdefault(f"{PAGE}.quality", QUALITY)


def _write_link(subject, network, attack, target, defense, epsilon: float, quality: int) -> None:
    state = st.session_state
    values = {"data": state[f"{PAGE}.data"], "image": None if subject.label is None else state[f"{PAGE}.index"],
              "model": network.card.name, "attack": attack.name, "target": target,
              "defense": defense.name if defense else "none", "eps": f"{epsilon:.6g}", "quality": quality}
    for name, value in (*attack.settings, *(defense.settings if defense else ())):
        values[name] = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    link.write(values)
