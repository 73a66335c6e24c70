"""The perturbations of several attacks on one image, side by side, each just large enough to fool."""
import streamlit as st

from core.attacks import ATTACKS
from core.epsilons import scale_for
from core.evaluation import require_fit
from core.images import to_uint8
from core.models.cards import MODELS
from dashboard import cache, controls, link, tiles
from dashboard.i18n import attack_title, class_name, number, t

PAGE = "compare"
FIRST_DIGIT, FIRST_PHOTO = 168, 1  # an 8 that these attacks all turn into a 3, as in report R2; a photo
FIRST_ATTACKS = ("fgsm", "fgm", "cw", "noise")


def _first_image() -> None:
    first = {"mnist/sample": FIRST_DIGIT, "cifar10/sample": FIRST_PHOTO}.get(st.session_state[f"{PAGE}.data"], 0)
    st.session_state.update({f"{PAGE}.index": first, f"{PAGE}.upload": None, f"{PAGE}.class": controls.ANY})


def render() -> None:
    """Controls in the sidebar, a column for each attack in the page."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
                        "model": (f"{PAGE}.model", link.one_of(MODELS)),
                        "attacks": (f"{PAGE}.attacks", link.several(ATTACKS))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.index", FIRST_DIGIT)
    st.session_state.setdefault(f"{PAGE}.attacks", list(FIRST_ATTACKS))
    st.title(t("compare.title"))
    st.caption(t("compare.how"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=_first_image)
        if dataset is None:
            return
        subject = controls.image_menu(PAGE, dataset)
        network = controls.model_menu(PAGE, dataset)
        names = st.multiselect(t("control.attacks"), list(ATTACKS), key=f"{PAGE}.attacks", persist_state="session",
                               format_func=lambda name: attack_title(ATTACKS[name].title))
        settings = controls.shared_settings(PAGE, [ATTACKS[name] for name in names])
    if network is None:
        return
    require_fit(network.card, dataset)
    if not names:
        st.info(t("compare.nothing"), icon=":material/compare:")
        return
    _columns(subject, network, names, settings)
    link.write({"data": st.session_state[f"{PAGE}.data"], "model": st.session_state[f"{PAGE}.model"],
                "image": None if subject.label is None else st.session_state[f"{PAGE}.index"],
                "attacks": ",".join(names)})


def _columns(subject: controls.Subject, network: controls.Network, names: list[str], settings: dict) -> None:
    """Noise above adversarial image for each attack; attacks appear as they are done."""
    place, columns = st.empty(), []
    clean = cache.image(subject.shape, subject.pixels)
    dark = st.context.theme.type == "dark"
    for k, name in enumerate(names):
        place.html(tiles.columns([*columns, *[tiles.waiting(attack_title(ATTACKS[each].title)) for each in names[k:]]]))
        kind = ATTACKS[name]
        top = scale_for(subject.shape, kind.norm).path[-1] if kind.bounded else 0.0
        result, eps = cache.first_error(network.key, subject.shape, subject.pixels, subject.label, name, settings[kind],
                                        top, _model=network.module)
        delta = (result.adversarial.cpu() - clean)[0].numpy()
        said = class_name(subject.classes[int(result.logits.argmax())]) if int(
            result.logits.argmax()) < len(subject.classes) else str(int(result.logits.argmax()))
        sure = number(100 * float(result.logits.softmax(dim=1).max()), 0)
        found = bool(result.success[0])
        lines = [t("compare.read" if found else "compare.holds", name=said, sure=sure),
                 "" if eps is None else f"ε = {_epsilon(subject.shape, kind, eps)}",
                 f"L2 {number(float(result.l2[0]), 2)} · L-inf {number(float(result.linf[0]), 3)}",
                 t("live.l0", changed=int(result.l0[0]), all=subject.shape[1] * subject.shape[2])]
        columns.append(tiles.column(attack_title(kind.title), tiles.signed(delta, dark),
                                    to_uint8(result.adversarial)[0], [line for line in lines if line], found,
                                    t("compare.noise.alt"), t("compare.image.alt", name=said)))
    place.html(tiles.columns(columns))


def _epsilon(shape, kind, eps: float) -> str:
    if scale_for(shape, kind.norm).per_255:
        return f"{number(eps * 255, 1)}/255"
    return number(eps, 3 if kind.norm == "linf" else 2)
