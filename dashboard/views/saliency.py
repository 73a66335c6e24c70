"""Saliency lab: where a network looks in an image clean, attacked and defended, and where the noise falls."""
import streamlit as st

from core.analysis.grad_cam import default_layer
from core.analysis.overlap import PREDICTED, TRUE
from core.analysis.saliency import METHODS, NEEDS_CONVOLUTION
from core.attacks import ATTACKS
from core.epsilons import scale_for
from core.evaluation import require_fit
from core.models.cards import MODELS
from core.settings import settings_of
from dashboard import cache, controls, link, map_set, maps, tiles
from dashboard.i18n import attack_title, class_name, t

PAGE = "saliency"
STORY, FIRST_PHOTO = 4698, 1  # an 8 that each attack below turns into a 3 and JPEG mends (overlap.stories); a photo
STORY_EPS = {"fgsm": 0.12, "fgm": 1.7, "cw": None}
QUALITY = 20
DRAWN = ("signed", "magnitude")


def render() -> None:
    """Controls in the sidebar; one image, every method, and a whole set in the page."""
    link.restore(PAGE, _readers())
    controls.take_own_checkpoint(PAGE)
    if not {f"{PAGE}.{name}" for name in ("data", "index", "model", "attack")} & set(st.session_state):
        _tell("fgsm")
    st.title(t("saliency.title"))
    with st.sidebar:
        _story_buttons()
        dataset = controls.data_menu(PAGE, on_change=_first_image)
        if dataset is None:
            return
        subject = controls.image_menu(PAGE, dataset)
        network = controls.model_menu(PAGE, dataset)
        attack = controls.attack_menu(PAGE)
        left, right = st.columns(2, vertical_alignment="bottom")
        with left if attack.kind.bounded else right:
            settings = (*attack.settings, *_epsilon(dataset.shape, attack.kind))
        st.session_state.setdefault(f"{PAGE}.quality", QUALITY)
        quality = (right if attack.kind.bounded else st).slider(t("setting.quality"), 1, 100, key=f"{PAGE}.quality",
                                                                persist_state="session")
        if network is None:
            return
        require_fit(network.card, dataset)
        asked = _explanation(subject, network)
    seen = maps.shown(subject, network, attack, settings, quality)
    found = seen.maps(asked.method, asked.explain, asked.layer)
    st.html(tiles.headline(maps.headline(seen, found)))
    st.html(maps.three(seen, found, asked))
    st.markdown(maps.in_words(seen, found))
    st.caption(t("saliency.how"))
    methods = _methods(network, subject.shape)
    st.subheader(t("saliency.methods" if len(methods) == len(METHODS) else "saliency.methods.some"), anchor=False)
    st.html(maps.side_by_side(seen, methods, asked))
    st.caption(t("saliency.methods.how"))
    st.divider()
    n = map_set.render(PAGE, dataset, network, attack, settings, asked)
    _write_link(subject, attack, settings, asked, quality, n)


def _readers() -> dict:
    """What a link may say, and how it is read."""
    attack = ATTACKS.get(st.query_params.get("attack"), ATTACKS["fgsm"])
    return {
        "data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
        "model": (f"{PAGE}.model", link.one_of(MODELS)),
        "attack": (f"{PAGE}.attack", link.one_of(ATTACKS)),
        "eps": (f"{PAGE}.eps", link.between(float, 0, 100)),
        "method": (f"{PAGE}.method", link.one_of(METHODS)),
        "layer": (f"{PAGE}.layer", str),
        "explain": (f"{PAGE}.explain", link.one_of([PREDICTED, TRUE, *map(str, range(10))])),
        "drawn": (f"{PAGE}.drawn", link.one_of(DRAWN)),
        "quality": (f"{PAGE}.quality", link.between(int, 1, 100)),
        "n": (f"{PAGE}.n", link.between(int, 1, 60_000)),
    } | {each.name: (controls.setting_key(PAGE, each), link.setting(each)) for each in settings_of(attack)
         if each.name != "eps"}


def _write_link(subject: controls.Subject, attack: controls.Choice, settings: tuple, asked: maps.Explanation,
                quality: int, n: int) -> None:
    state = st.session_state
    chosen = {name: {True: "yes", False: "no"}[value] if isinstance(value, bool) else value for name, value in settings}
    link.write({"data": state[f"{PAGE}.data"], "image": None if subject.label is None else state[f"{PAGE}.index"],
                "model": state[f"{PAGE}.model"], "attack": attack.name, **chosen, "method": asked.method,
                "layer": asked.layer, "explain": asked.explain, "drawn": DRAWN[asked.magnitude], "quality": quality,
                "n": n})


def _tell(attack: str) -> None:
    """Put the ready story into every control that it needs."""
    st.session_state.update({f"{PAGE}.{name}": value for name, value in {
        "data": "mnist/sample", "index": STORY, "upload": None, "class": controls.ANY, "model": "tutorial-cnn",
        "attack": attack, "eps": STORY_EPS[attack], "explain": PREDICTED, "quality": QUALITY}.items()})


def _story_buttons() -> None:
    """The same image under each attack of the story."""
    st.caption(t("saliency.story"))
    for name, column in zip(STORY_EPS, st.columns(3, gap="small")):
        short = "C & W" if name == "cw" else attack_title(ATTACKS[name].title)
        column.button(short, key=f"{PAGE}.story.{name}", on_click=_tell, args=(name,), width="stretch")


def _first_image() -> None:
    first = {"mnist/sample": STORY, "cifar10/sample": FIRST_PHOTO}.get(st.session_state[f"{PAGE}.data"], 0)
    st.session_state.update({f"{PAGE}.index": first, f"{PAGE}.upload": None, f"{PAGE}.class": controls.ANY})


def _epsilon(shape: tuple[int, int, int], kind: type) -> tuple:
    """The slider, moved to where a link or the story wants it: (("eps", value),), or () for an attack without one."""
    wanted = st.session_state.pop(f"{PAGE}.eps", None)
    if wanted is not None and kind.bounded:
        scale = scale_for(shape, kind.norm)
        st.session_state[f"{PAGE}.eps.{shape[1]}.{kind.norm}"] = round(
            min(wanted, scale.path[-1]) * (255 if scale.per_255 else 1), 3)
    eps = controls.epsilon_slider(PAGE, shape, kind)
    return () if eps is None else (("eps", eps),)


def _methods(network: controls.Network, shape: tuple[int, int, int]) -> list[str]:
    """All that this network allows: without a convolution there is no Grad-CAM."""
    convolutional = default_layer(cache.convolutions(network.key, shape, _model=network.module))
    return [name for name in METHODS if convolutional or name not in NEEDS_CONVOLUTION]


def _explanation(subject: controls.Subject, network: controls.Network) -> maps.Explanation:
    """Which method, for which class, drawn how."""
    layers = cache.convolutions(network.key, subject.shape, _model=network.module)
    method = _menu("method", _methods(network, subject.shape), lambda name: t(f"saliency.method.{name}"), "gradient")
    if not layers:
        st.caption(t("saliency.no_layers"))
    sizes = {name: f"{name.removeprefix('network.')} · {height} x {width}" for name, (height, width) in layers.items()}
    layer = _menu("layer", list(layers), sizes.get, default_layer(layers)) if method in NEEDS_CONVOLUTION else None
    names = subject.classes[:10]
    classes = [str(c) for c in network.card.labels or range(len(names))]
    words = {PREDICTED: t("saliency.explain.predicted"), TRUE: t("saliency.explain.true")}
    explain = _menu("explain", [PREDICTED, *([] if subject.label is None else [TRUE]), *classes],
                    lambda name: words.get(name) or class_name(names[int(name)]), PREDICTED)
    st.session_state.setdefault(f"{PAGE}.drawn", "signed")
    drawn = st.segmented_control(t("saliency.drawn"), DRAWN, key=f"{PAGE}.drawn", required=True, width="stretch",
                                 format_func=lambda name: t(f"saliency.drawn.{name}"), persist_state="session")
    return maps.Explanation(method, explain, drawn == "magnitude", layer)


def _menu(name: str, options: list[str], words, first: str) -> str:
    """A menu that returns to `first` when its choice is not among the options any more."""
    key = f"{PAGE}.{name}"
    if st.session_state.get(key) not in options:
        st.session_state[key] = first
    return st.selectbox(t(f"saliency.{name}"), options, format_func=words, key=key, persist_state="session")
