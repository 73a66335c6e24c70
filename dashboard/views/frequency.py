"""What images, attacks and networks look like to Fourier: spectra, transfer functions, Fourier sensitivity."""
import streamlit as st

from core.attacks import ATTACKS
from core.models.cards import MODELS
from dashboard import controls, link
from dashboard.frequency import fourier, gratings, spectra, transfer
from dashboard.i18n import t

PAGE = "frequency"
SECTIONS = {"spectra": spectra, "transfer": transfer, "fourier": fourier}
FIRST_DIGIT, FIRST_PHOTO = 168, 1  # an 8 that attacks turn into a 3, as in report R2; a photo


def _first_image() -> None:
    """Another data set starts at its own first image, with the networks that read it."""
    first = {"mnist/sample": FIRST_DIGIT, "cifar10/sample": FIRST_PHOTO}.get(st.session_state[f"{PAGE}.data"], 0)
    st.session_state.update({f"{PAGE}.index": first, f"{PAGE}.upload": None, f"{PAGE}.class": controls.ANY})
    for choice in ("models", "pair", "layer", "unit", "norm", "images"):
        st.session_state.pop(f"{PAGE}.{choice}", None)


def render() -> None:
    """Data set in the sidebar, the section on top of the page; only the chosen section computes."""
    link.restore(PAGE, {
        "data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
        "section": (f"{PAGE}.section", link.one_of(SECTIONS)),
        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)), "model": (f"{PAGE}.model", link.one_of(MODELS)),
        "attack": (f"{PAGE}.attack", link.one_of(ATTACKS)), "attacks": (f"{PAGE}.attacks", link.several(ATTACKS)),
        "n": (f"{PAGE}.n", link.between(int, 1, 60_000)), "models": (f"{PAGE}.models", link.several(MODELS)),
        "layer": (f"{PAGE}.layer", str),
        "amplitude": (f"{PAGE}.amplitude", {str(each): each for each in gratings.AMPLITUDES}.__getitem__),
        "background": (f"{PAGE}.background", link.one_of(transfer.BACKGROUNDS)),
        "jpeg": (f"{PAGE}.jpeg", {"yes": True, "no": False}.__getitem__),
        "cut": (f"{PAGE}.cut", {"yes": True, "no": False}.__getitem__),
        "pair": (f"{PAGE}.pair", link.several(MODELS)), "norm": (f"{PAGE}.norm", link.between(float, 0.5, 20)),
        "images": (f"{PAGE}.images", link.between(int, 1, 60_000)),
        "quality": (f"{PAGE}.quality", link.between(int, 1, 100)),
        "energy": (f"{PAGE}.energy", link.one_of(fourier.ENERGIES))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.index", FIRST_DIGIT)
    st.session_state.setdefault(f"{PAGE}.section", "spectra")
    st.title(t("frequency.title"))
    section = st.segmented_control(t("frequency.section"), SECTIONS, key=f"{PAGE}.section", required=True,
                                   format_func=lambda name: t(f"frequency.section.{name}"), persist_state="session",
                                   label_visibility="collapsed")
    st.caption(t(f"frequency.how.{section}"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=_first_image)
    if dataset is None:
        return
    chosen = SECTIONS[section].render(PAGE, dataset)
    if chosen is not None:
        link.write({"data": st.session_state[f"{PAGE}.data"], "section": section, **chosen})
