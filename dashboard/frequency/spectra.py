"""Section one: the spectra of an image and its perturbation, and below those of several attacks over a data set."""
import numpy as np
import streamlit as st
import torch

from core.analysis import spectrum
from core.attacks import ATTACKS
from core.data import DataSet
from core.evaluation import require_fit
from core.images import to_uint8
from dashboard import cache, controls, tables, tiles
from dashboard.frequency import figures
from dashboard.frequency.averages import FIRST, over_set, scale_words, short, without_constant
from dashboard.i18n import attack_title, number, t

FLOOR = -45.0  # dB below the strongest frequency at which a spectrum is drawn darkest
CHANNELS = ("mean", "red", "green", "blue")


def render(page: str, dataset: DataSet) -> dict | None:
    """One image above, a data set below; gives what the link says of this section."""
    st.session_state.setdefault(f"{page}.attacks", list(FIRST))
    with st.sidebar:
        subject = controls.image_menu(page, dataset)
        network = controls.model_menu(page, dataset)
        names = st.multiselect(t("control.attacks"), list(ATTACKS), key=f"{page}.attacks", persist_state="session",
                               format_func=lambda name: attack_title(ATTACKS[name].title))
        kinds = {ATTACKS[name].norm: ATTACKS[name] for name in names if ATTACKS[name].bounded}
        sizes = {norm: controls.epsilon_slider(page, dataset.shape, kind) for norm, kind in kinds.items()}
        settings = controls.shared_settings(page, [ATTACKS[name] for name in names])
        st.session_state[f"{page}.n"] = min(st.session_state.get(f"{page}.n", 50), len(dataset))
        n = st.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=f"{page}.n", persist_state="session")
    if network is None:
        return None
    require_fit(network.card, dataset)
    if not names:
        st.info(t("compare.nothing"), icon=":material/graphic_eq:")
        return None
    chosen = {name: settings[ATTACKS[name]] + ((("eps", sizes[ATTACKS[name].norm]),) if ATTACKS[name].bounded else ())
              for name in names}
    attack = _one_image(page, subject, network, chosen)
    st.divider()
    over_set(page, dataset, network, chosen, n)
    return {"model": st.session_state[f"{page}.model"], "attack": attack, "attacks": ",".join(names), "n": n,
            "image": None if subject.label is None else st.session_state[f"{page}.index"]}


def _one_image(page: str, subject: controls.Subject, network: controls.Network, chosen: dict) -> str:
    """Image, perturbation and adversarial image above their spectra, and the three curves beside them."""
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    if st.session_state.get(f"{page}.attack") not in chosen:
        st.session_state[f"{page}.attack"] = next(iter(chosen))
    attack = left.segmented_control(t("control.attack"), list(chosen), key=f"{page}.attack", required=True,
                                    format_func=lambda name: short(name), persist_state="session")
    channel = "mean"
    if subject.shape[0] == 3:
        channel = right.segmented_control(t("frequency.channel"), CHANNELS, default="mean", required=True,
                                          format_func=lambda name: t(f"frequency.channel.{name}"),
                                          key=f"{page}.channel")
    result = cache.attacked(network.key, subject.shape, subject.pixels, subject.label, attack, chosen[attack],
                            _model=network.module)
    x, adversarial = cache.image(subject.shape, subject.pixels), result.adversarial.cpu()
    images = torch.cat([x, adversarial - x, adversarial])
    if channel != "mean":
        images = images[:, [CHANNELS.index(channel) - 1]]
    powers = spectrum.power(images.double())
    share = [number(100 * float(value), 0) for value in spectrum.high_share(powers)]
    found = bool(images[1].any())
    st.subheader(t("frequency.image.headline" if found else "frequency.image.nothing", attack=short(attack),
                   share=share[1], image=share[0]), anchor=False)
    names = [t("frequency.image"), t("frequency.perturbation"), t("frequency.adversarial")]
    left, right = st.columns([11, 9], gap="large")
    with left:
        _tiles(subject, images, names, dark=st.context.theme.type == "dark")
    curves = 10 * np.log10(spectrum.radial(powers).clamp_min(1e-14).numpy())
    cycles = spectrum.ring_radii(*images.shape[-2:]).numpy()
    lines = [figures.Line(name, colour, curve, dash=dash)
             for name, colour, curve, dash in zip(names, (3, 1, 0), curves, ("dash", "solid", "solid"))]
    with right:
        figure = figures.over_rings(lines if found else lines[:1], cycles, t("frequency.image.chart"),
                                    t("frequency.axis"), t("frequency.power"), height=370)
        st.plotly_chart(figure, config={"displayModeBar": False}, alt=t("frequency.image.alt"),
                        key=f"{page}.image.chart")
        rows = zip(cycles.tolist(), *curves.tolist())
        st.download_button(t("curves.csv"), tables.as_csv([t("frequency.axis"), *names], rows),
                           "epsilon-lab-spectra.csv", "text/csv", icon=":material/download:", key=f"{page}.image.csv")
    return attack


def _tiles(subject: controls.Subject, images: torch.Tensor, names: list[str], dark: bool) -> None:
    """Two rows of three: images, and the spectrum of each."""
    pictures = to_uint8(images.clamp(0, 1))
    row = [tiles.tile(picture, name) for picture, name in zip(pictures, names)]
    row[1] = tiles.tile(tiles.signed(images[1].numpy(), dark), names[1])
    maps = [without_constant(each[None], FLOOR)[0] for each in spectrum.magnitude(images)]
    row += [figures.tile(figures.coloured(each, FLOOR), t("frequency.spectrum"), t("frequency.spectrum.alt", name=name))
            for each, name in zip(maps, names)]
    st.html(figures.grid(row, 3))
    st.html(figures.colour_bar(scale_words(FLOOR)))
    st.caption(t("frequency.spectrum.how", side=subject.shape[1] // 2))
