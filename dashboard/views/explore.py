"""One image, live: drag epsilon or JPEG quality and watch the network change its mind."""
import contextlib
import time

import streamlit as st

from core.attacks import ATTACKS, OneStep
from core.defenses import DEFENSES, positions
from core.epsilons import slider_for
from core.evaluation import require_fit
from core.models.cards import MODELS
from core.settings import settings_of
from dashboard import alarms, cache, controls, link, live
from dashboard.i18n import t
from dashboard.scrubber import scrubber

PAGE = "explore"
FIRST_DIGIT, FIRST_PHOTO = 4155, 1  # images that the default network misreads at the default epsilon
STARTS = {"jpeg": 40}  # where a defense's slider first stands, if not at its setting's default


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
    }
    defense = DEFENSES.get(st.query_params.get("defense", "jpeg"))
    for each in (*settings_of(attack), *(settings_of(defense) if defense else ())):
        if defense and each.name == defense.slider:
            readers[each.name] = (f"{PAGE}.strength.{defense.slider}", link.setting(each))
        elif each.name != "eps":
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
    epsilon = _sliders(name, scale.start)
    key = (network.key, subject.shape, subject.pixels, subject.label, target, attack.name, attack.settings)
    epsilons = scale.path
    at = live.nearest(epsilons, epsilon)
    shown = st.session_state.setdefault(f"{PAGE}.shown", set())
    partial = built.iterated and key not in shown and at > 0
    path = cache.path(*key, (0.0, epsilons[at]) if partial else epsilons, _model=network.module)
    strength = _strength(defense) if defense else None
    with_known = (key, at, defense and (defense.name, defense.settings, strength))
    later = with_known not in shown  # the attacker who knows the defense is computed when the rest is seen
    shield = _shield(key, path, at, partial, later, network, defense, strength, built) if defense else None
    scrubber(live.message(key, path, built, subject.shape, subject.classes, subject.label, target, at, shield),
             key=f"{PAGE}.panel")
    if not built.black_box and cache.stuck(*key[:5], _model=network.module):
        st.html(alarms.card(t("alarm.zero_gradients"), t("alarm.zero_gradients.here")))
    _write_link(subject, network, attack, target, defense, epsilons[at], strength)
    if partial or (defense and later):
        shown.add(key if partial else with_known)
        time.sleep(0.05)  # a new run drops what the last one has not sent yet
        st.rerun()


def _shield(key: tuple, path, at: int, partial: bool, later: bool, network, defense: controls.Choice, strength,
            attack) -> live.Shield:
    """What the defense makes of the path, of the chosen image at each strength, and of an attacker who knows it: at
    every epsilon where that is quick, else at the chosen one."""
    settings = (*defense.settings, (defense.kind.slider, strength))
    row = cache.defended((key, path.epsilons), defense.name, settings, _model=network.module, _images=path.adversarial)
    column = None if partial else cache.over_slider((key, at), defense.name, defense.settings, _model=network.module,
                                                    _image=path.adversarial[at:at + 1])
    places = list(range(len(path.epsilons))) if isinstance(attack, OneStep) else [at]
    if partial or later:
        return live.Shield(defense.name, defense.kind, strength, row, column, path.probabilities[:0], [])
    known = cache.known(*key, tuple(path.epsilons[k] for k in places), defense.name, settings, _model=network.module)
    return live.Shield(defense.name, defense.kind, strength, row, column, known, places)


def _strength(defense: controls.Choice) -> float:
    """Where the slider of this defense stands."""
    start = STARTS.get(defense.name) or getattr(defense.build(), defense.kind.slider)
    stops = positions(defense.kind)
    return stops[live.nearest(stops, st.session_state.setdefault(f"{PAGE}.strength.{defense.kind.slider}", start))]


def _sliders(scale: str, start: float) -> float:
    """Where epsilon stands: as last released on this range, else as the link says, else the start. The defense's own
    slider is put where it was released, too."""
    state = st.session_state
    released = (state.get(f"{PAGE}.panel") or {}).get("release")
    if released != state.get(f"{PAGE}.released"):
        state[f"{PAGE}.released"] = released
        with contextlib.suppress(TypeError, ValueError, KeyError, OverflowError):  # what a browser sends may be anything
            if released["scale"] == scale:
                state[f"{PAGE}.eps"] = float(released["epsilon"])
            state[f"{PAGE}.strength.{DEFENSES[released['defense']].slider}"] = float(released["strength"])
    if state.setdefault(f"{PAGE}.scale", scale) != scale:
        state.update({f"{PAGE}.scale": scale, f"{PAGE}.eps": start})
    return state.setdefault(f"{PAGE}.eps", start)


def _write_link(subject, network, attack, target, defense, epsilon: float, strength) -> None:
    state = st.session_state
    values = {"data": state[f"{PAGE}.data"], "image": None if subject.label is None else state[f"{PAGE}.index"],
              "model": network.card.name, "attack": attack.name, "target": target,
              "defense": defense.name if defense else "none", "eps": f"{epsilon:.6g}"}
    if defense:
        values[defense.kind.slider] = strength
    for name, value in (*attack.settings, *(defense.settings if defense else ())):
        values[name] = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    link.write(values)
