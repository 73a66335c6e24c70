"""Black-box attacks: searches by asking the network, on one image and over a set, and what a single pixel can do."""
import numpy as np
import streamlit as st
import torch

from core.attacks import ATTACKS, Searched
from core.data import DataSet
from core.epsilons import scale_for
from core.evaluation import queries_needed, require_fit
from core.images import to_uint8
from core.models.cards import MODELS
from dashboard import cache, controls, figures, link, tiles
from dashboard.i18n import attack_title, class_name, number, t

PAGE = "blackbox"
FIRST_DIGIT, FIRST_PHOTO = 4155, 2  # the 5 of Explore; a ship of which one pixel is enough, as in report R3
NORMS = ("linf", "l2")


def _first_image() -> None:
    first = {"mnist/sample": FIRST_DIGIT, "cifar10/sample": FIRST_PHOTO}.get(st.session_state[f"{PAGE}.data"], 0)
    st.session_state.update({f"{PAGE}.index": first, f"{PAGE}.upload": None, f"{PAGE}.class": controls.ANY})


def render() -> None:
    """Controls in the sidebar; searches and single pixels in two tabs."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
                        "model": (f"{PAGE}.model", link.one_of(MODELS)),
                        "norm": (f"{PAGE}.norm", link.one_of(NORMS))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.index", FIRST_DIGIT)
    st.title(t("blackbox.title"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=_first_image)
        if dataset is None:
            return
        subject = controls.image_menu(PAGE, dataset)
        network = controls.model_menu(PAGE, dataset)
    if network is None:
        return
    require_fit(network.card, dataset)
    search, pixel, many = st.tabs([t("blackbox.search"), t("blackbox.pixel"), t("blackbox.set")])
    with search:
        _search(subject, network)
    with pixel:
        _pixel(subject, network)
    with many:
        _set(dataset, network)
    link.write({"data": st.session_state[f"{PAGE}.data"], "model": st.session_state[f"{PAGE}.model"],
                "image": None if subject.label is None else st.session_state[f"{PAGE}.index"],
                "norm": st.session_state[f"{PAGE}.norm"]})


@st.fragment
def _search(subject: controls.Subject, network: controls.Network) -> None:
    """Random steps against squares: what each query brought."""
    st.caption(t("blackbox.search.how"))
    left, middle, right = st.columns([2, 4, 3], vertical_alignment="bottom")
    with left:
        norm = st.segmented_control(t("curves.norm"), NORMS, default="linf", required=True, key=f"{PAGE}.norm",
                                    format_func={"linf": "L-inf", "l2": "L2"}.get, persist_state="session")
    names = [name for name, kind in ATTACKS.items() if issubclass(kind, Searched) and kind.norm == norm]
    with middle:
        eps = controls.epsilon_slider(PAGE, subject.shape, ATTACKS[names[0]])
    with right:
        queries = st.select_slider(t("setting.queries"), (100, 300, 1000, 3000, 10_000), 1000, key=f"{PAGE}.queries",
                                   persist_state="session", help=t("setting.queries.help"))
    place, traces, columns = st.container(), [], []
    for name in names:
        with st.spinner(t("blackbox.searching", attack=attack_title(ATTACKS[name].title))):
            found = cache.search(network.key, subject.shape, subject.pixels, subject.label, name,
                                 (("eps", eps), ("queries", queries)), _model=network.module)
        title = attack_title(ATTACKS[name].title)
        traces.append(figures.Trace(title, found.trace, found.success))
        columns.append(_column(title, subject, found))
    pictures, chart = place.columns([4, 6])
    pictures.html(tiles.columns(columns))
    chart.plotly_chart(figures.queries(traces, t("blackbox.chart"), t("blackbox.queries"), t("blackbox.probability")),
                       config={"displayModeBar": False}, alt=t("blackbox.chart.alt"))


def _column(title: str, subject: controls.Subject, found) -> str:
    delta = (found.adversarial - cache.image(subject.shape, subject.pixels))[0].numpy()
    said = _name(subject, found.predicted)
    lines = [t("compare.read" if found.success else "compare.holds", name=said, sure=number(100 * found.sure, 0)),
             t("blackbox.after", queries=found.queries)]
    return tiles.column(title, tiles.signed(delta, st.context.theme.type == "dark"), to_uint8(found.adversarial)[0],
                        lines, found.success, t("compare.noise.alt"), t("compare.image.alt", name=said))


@st.fragment
def _pixel(subject: controls.Subject, network: controls.Network) -> None:
    """Every position set to one colour, and the best few pixels by differential evolution."""
    st.caption(t("blackbox.pixel.how"))
    left, right = st.columns([6, 4], gap="large")
    with left:
        colour = _colour(subject.shape[0])
        found = cache.pixel_map(network.key, subject.shape, subject.pixels, subject.label, colour, _model=network.module)
        names = [class_name(name) for name in subject.classes]
        names += [str(c) for c in range(len(names), 10)]
        fooled = int((found.predicted != found.true).sum())
        st.markdown(t("blackbox.pixel.count", fooled=fooled, all=found.predicted.size, name=names[found.true]))
        st.plotly_chart(figures.pixel_map(cache.image(subject.shape, subject.pixels)[0].numpy(), found.probability,
                                          found.predicted, found.true, names,
                                          t("blackbox.pixel.bar", name=names[found.true])),
                        config={"displayModeBar": False}, alt=t("blackbox.pixel.alt"))
    with right:
        _evolution(subject, network)


@st.fragment
def _set(dataset: DataSet, network: controls.Network) -> None:
    """Share of images fooled against queries, at the norm, epsilon and budget of the searches."""
    norm, queries = st.session_state[f"{PAGE}.norm"], st.session_state[f"{PAGE}.queries"]
    names = [name for name, kind in ATTACKS.items() if issubclass(kind, Searched) and kind.norm == norm]
    scale = scale_for(dataset.shape, norm)
    shown = st.session_state[f"{PAGE}.eps.{dataset.shape[1]}.{norm}"]
    eps = shown / 255 if scale.per_255 else shown
    st.caption(t("blackbox.set.how", queries=queries, eps=f"{shown:g}/255" if scale.per_255 else number(eps, 2)))
    left, middle, _ = st.columns([2, 2, 4], vertical_alignment="bottom")
    most = min(len(dataset), 1000)
    n = left.number_input(t("curves.n", last=most), 1, most, min(50, most), key=f"{PAGE}.n")
    start = middle.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch")
    status = controls.progress_room()
    done = st.session_state.setdefault(f"{PAGE}.done", {})
    keys = {name: (network.key, f"{dataset.name}/{dataset.split}", name, eps, queries, n) for name in names}
    for k, (name, key) in enumerate(keys.items()):
        if not start or key in done:
            continue
        found, title = [], attack_title(ATTACKS[name].title)
        status.progress(k / len(keys), t("minimal.progress", name=title, done=0, n=n))
        for part in queries_needed(network.module, ATTACKS[name](eps=eps, queries=queries), dataset, limit=n):
            found.append(part)
            status.progress((k + sum(map(len, found)) / n) / len(keys),
                            t("minimal.progress", name=title, done=sum(map(len, found)), n=n))
        done[key] = torch.cat(found).numpy()
    status.empty()
    series = [figures.Distances(attack_title(ATTACKS[name].title), k, done[key])
              for k, (name, key) in enumerate(keys.items()) if key in done]
    if not series:
        st.info(t("minimal.nothing"), icon=":material/query_stats:")
        return
    st.plotly_chart(figures.distances(series, queries, False, t("blackbox.set.chart"), t("blackbox.queries"),
                                      t("minimal.images"), t("minimal.fooled")),
                    config={"displayModeBar": False}, alt=t("blackbox.set.alt"))
    rows = [{t("curves.attack"): each.name, "n": len(each.values), t("minimal.wrong"): int((each.values == 0).sum()),
             t("minimal.unfooled"): int(np.isinf(each.values).sum()),
             t("blackbox.set.median"): f"{np.median(each.values):.0f}" if np.isfinite(np.median(each.values)) else
             f"> {queries}"} for each in series]
    st.dataframe(rows, hide_index=True)


def _colour(channels: int) -> tuple[float, ...]:
    """White, as in report R3, or any colour."""
    if channels == 1:
        return (st.slider(t("blackbox.grey"), 0, 255, 255, key=f"{PAGE}.grey", persist_state="session") / 255,)
    picked = st.color_picker(t("blackbox.colour"), "#ffffff", key=f"{PAGE}.colour")
    return tuple(int(picked[k:k + 2], 16) / 255 for k in (1, 3, 5))


def _evolution(subject: controls.Subject, network: controls.Network) -> None:
    st.subheader(t("blackbox.evolution"))
    st.caption(t("blackbox.evolution.how"))
    pixels = st.segmented_control(t("setting.pixels"), (1, 3, 5), default=1, required=True, key=f"{PAGE}.pixels")
    asked = st.session_state.setdefault(f"{PAGE}.evolved", set())
    key = (network.key, subject.pixels, pixels)
    if st.button(t("blackbox.evolve"), icon=":material/genetics:", type="primary"):
        asked.add(key)
    if key not in asked:
        return
    with st.spinner(t("blackbox.evolving")):
        found = cache.search(network.key, subject.shape, subject.pixels, subject.label, "one-pixel",
                             (("pixels", pixels),), _model=network.module)
    st.html(tiles.columns([_column(t("blackbox.pixels", pixels=pixels), subject, found)]))


def _name(subject: controls.Subject, predicted: int) -> str:
    return class_name(subject.classes[predicted]) if predicted < len(subject.classes) else str(predicted)
