"""What data is here, where it came from, and how to get more."""
import numpy as np
import streamlit as st

from core.data import DataSet, data_directory
from core.errors import UserError
from dashboard import controls, figures, tables, tiles
from dashboard.i18n import class_name, count, explain, t

PAGE = "data"
MEGABYTES = {"mnist": 12, "cifar10": 171}


def render() -> None:
    """One data set at a time: its classes as a chart, samples, and downloads of the official sets."""
    with st.sidebar:
        dataset = controls.data_menu(PAGE)
        st.caption(t("data.directory", path=data_directory().name))
    st.title(t("data.title"))
    if dataset is not None:
        _facts(dataset)
        _samples(dataset)
    _downloads()


def _facts(dataset: DataSet) -> None:
    name = f"{dataset.name}/{dataset.split}"
    st.markdown(f"**{controls.data_title(name)}** — " + t(
        "data.facts", n=count(len(dataset)), side=dataset.shape[1],
        source=t(f"data.source.{dataset.source}")))
    if dataset.split == "sample":
        st.info(t(f"data.about.{dataset.name}"), icon=":material/info:")
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    even = counts.max() == counts.min()
    names = [class_name(name) for name in dataset.classes]
    figure = figures.class_counts(counts, names, t("data.even" if even else "data.uneven", low=counts.min(),
                                                   high=counts.max()), t("data.class"), t("data.count"))
    st.plotly_chart(figure, config={"displayModeBar": False}, alt=t("data.count.alt"))
    st.download_button(t("data.csv"), tables.as_csv(("class", "images"), zip(names, counts)),
                       f"{dataset.name}-{dataset.split}-classes.csv", "text/csv",
                       icon=":material/download:")


def _samples(dataset: DataSet) -> None:
    which = st.segmented_control(t("data.samples"), ["first", "random"], default="first", required=True,
                                 format_func=lambda name: t(f"data.samples.{name}"), key=f"{PAGE}.which")
    n = min(50, len(dataset))
    if which == "random":
        st.button(t("data.again"), icon=":material/shuffle:")  # any click draws anew
        chosen = np.random.default_rng().choice(len(dataset), n, replace=False)
    else:
        chosen = np.arange(n)
    names = [class_name(name) for name in dataset.classes]
    st.html(tiles.grid([tiles.tile(dataset.images[i], names[dataset.labels[i]]) for i in chosen], 72))


def _downloads() -> None:
    here = controls.data_sets()
    st.subheader(t("data.here"))
    st.dataframe([{t("control.data"): controls.data_title(name), t("data.from"): t(f"data.source.{entry.source}"),
                   t("data.place"): entry.path.name} for name, entry in here.items()], hide_index=True)
    st.subheader(t("data.more"))
    st.write(t("data.more.text"))
    for name, size in MEGABYTES.items():
        if {f"{name}/test", f"{name}/train"} <= set(here):
            st.success(t("data.have", name=controls.data_title(f"{name}/test").partition(" · ")[0]),
                       icon=":material/check:")
        elif st.button(t("data.get", name={"mnist": "MNIST", "cifar10": "CIFAR-10"}[name], megabytes=size),
                       icon=":material/download:", key=f"{PAGE}.get.{name}"):
            _download(name)


def _download(name: str) -> None:
    from core.downloads import download  # brings in torchvision, which only this needs

    bar = st.progress(0.0, t("data.getting"))
    try:
        download(name, data_directory(), lambda done, total: bar.progress(min(1.0, done / total), t("data.getting")))
    except UserError as error:
        bar.empty()
        st.error(explain(error), icon=":material/wifi_off:")
        return
    st.rerun()
