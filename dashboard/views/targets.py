"""Targeted attacks: one image towards every class, or the whole grid of source and target classes."""
from collections.abc import Iterator

import streamlit as st

from core.attacks import ATTACKS
from core.data import DataSet
from core.evaluation import require_fit
from core.images import to_uint8
from core.models.cards import MODELS
from dashboard import cache, controls, link, tiles
from dashboard.i18n import class_name, number, t

PAGE = "targets"
MODES = ("grid", "one")


def _steerable() -> list[str]:
    """Attacks that can aim: noise cannot."""
    return [name for name, kind in ATTACKS.items() if not name.startswith("noise")]


def render() -> None:
    """Controls in the sidebar; rows of adversarial images, each drawn as soon as it is computed."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
                        "model": (f"{PAGE}.model", link.one_of(MODELS)),
                        "attack": (f"{PAGE}.attack", link.one_of(_steerable())),
                        "mode": (f"{PAGE}.mode", link.one_of(MODES)),
                        "skip": (f"{PAGE}.skip", link.between(int, 0, 50))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.attack", "cw")
    st.title(t("targets.title"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=lambda: st.session_state.update({f"{PAGE}.index": 0}))
        if dataset is None:
            return
        mode = st.segmented_control(t("targets.mode"), MODES, default="grid", required=True, key=f"{PAGE}.mode",
                                    format_func=lambda name: t(f"targets.mode.{name}"), persist_state="session")
        subject = controls.image_menu(PAGE, dataset) if mode == "one" else None
        if mode == "grid":
            st.number_input(t("targets.skip"), 0, 50, key=f"{PAGE}.skip", persist_state="session",
                            help=t("targets.skip.help"))
        network = controls.model_menu(PAGE, dataset)
        attack = controls.attack_menu(PAGE, _steerable())
        eps = controls.epsilon_slider(PAGE, dataset.shape, attack.kind)
    if network is None:
        return
    require_fit(network.card, dataset)
    settings = attack.settings if eps is None else (*attack.settings, ("eps", eps))
    st.caption(t("targets.how.bounded" if attack.kind.bounded else "targets.how.smallest"))
    subjects = [subject] if subject else _one_of_each(dataset, network)
    link.write({"data": st.session_state[f"{PAGE}.data"], "model": st.session_state[f"{PAGE}.model"],
                "attack": attack.name, "mode": mode,
                "image": st.session_state[f"{PAGE}.index"] if subject and subject.label is not None else None,
                "skip": st.session_state.get(f"{PAGE}.skip") if mode == "grid" else None})
    _grid(subjects, dataset, network, attack.name, settings)


def _one_of_each(dataset: DataSet, network: controls.Network) -> list[controls.Subject]:
    indices = cache.one_of_each(network.key, f"{dataset.name}/{dataset.split}", st.session_state[f"{PAGE}.skip"],
                                _model=network.module, _dataset=dataset)
    return [controls.Subject(dataset.images[k].tobytes(), dataset.shape, int(dataset.labels[k]), dataset.classes)
            for k in indices]


def _grid(subjects: list[controls.Subject], dataset: DataSet, network: controls.Network, attack: str,
          settings: tuple) -> None:
    """A row for each image, a column for each target; every row can be downloaded as one picture."""
    names = [class_name(name) for name in dataset.classes]
    status = controls.progress_room()
    reached = tried = 0
    distances = []
    for k, subject in enumerate(subjects):
        status.progress(k / len(subjects), t("targets.progress", done=k, all=len(subjects)))
        result = cache.towards_each(network.key, subject.shape, subject.pixels, subject.label, attack, settings,
                                    len(names), _model=network.module)
        images = to_uint8(result.adversarial)
        own = subject.label
        aimed = [c for c in range(len(names)) if c != own]
        reached, tried = reached + sum(bool(result.success[c]) for c in aimed), tried + len(aimed)
        distances += [float(result.l2[c]) for c in aimed if result.success[c]]
        row, button = st.columns([19, 2], vertical_alignment="center")
        head = f"{names[own]} →" if own is not None else "→"
        row.html(tiles.table([(head, list(_cells(result, images, names, own)))], 58))
        button.download_button(t("targets.download"), tiles.strip(list(images)), f"epsilon-lab-targets-{k}.png",
                               "image/png", icon=":material/download:", key=f"{PAGE}.row.{k}", type="tertiary",
                               help=t("targets.download.help"))
    mean = number(sum(distances) / len(distances), 2) if distances else "–"
    status.markdown(t("targets.result", reached=reached, tried=tried, mean=mean))


def _cells(result, images, names: list[str], own: int | None) -> Iterator[str]:
    for c, image in enumerate(images):
        if c == own:
            yield tiles.tile(image, t("targets.original"))
        elif result.success[c]:
            yield tiles.tile(image, f"{names[c]} · {number(float(result.l2[c]), 2)}", True)
        else:
            yield tiles.tile(image, t("targets.missed", name=names[c]))
