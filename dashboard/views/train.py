"""Train a network of your own, and watch it learn, live."""
import json

import streamlit as st

from core import data as data_sets
from core.data import DataSet
from core.epsilons import scale_for
from core.errors import UserError
from core.evaluation import require_fit
from core.models.cards import MODELS, ModelCard
from core.training.live import FEWEST, JUDGED, ROBUST, SMALL, Live, first_fifths, live_recipe, methods
from core.training.queue import Job, Queue
from dashboard import cache, controls, figures
from dashboard.i18n import architecture_title, count, explain, number, t

PAGE = "train"
LOOK_EVERY = 1.0  # seconds between two looks at a running training


@st.cache_resource
def _queue() -> Queue:
    """One line for the whole server."""
    return Queue()


def render() -> None:
    """Settings in the sidebar; the chart, and what to do with the result, in the page."""
    st.title(t("train.title"))
    st.caption(t("train.how"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, without="test")  # what is learnt is judged by it, here and on other pages
        if dataset is None:
            return
        if len(dataset) < FEWEST:
            st.info(t("train.few", n=count(len(dataset)), least=FEWEST), icon=":material/photo_library:")
            return
        chosen = _settings(dataset)
    mine = st.session_state.get(f"{PAGE}.job")
    busy = mine is not None and mine.state in ("waiting", "running")
    paused = mine is not None and mine.state == "paused"
    with st.container(horizontal=True):
        st.button(t("train.start"), type="primary", icon=":material/play_arrow:", disabled=busy, width=112,
                  on_click=_start, args=(dataset, *chosen), key=f"{PAGE}.start")
        st.button(t("train.resume") if paused else t("train.pause"), key=f"{PAGE}.pause", width=112,
                  icon=":material/play_arrow:" if paused else ":material/pause:", disabled=not (busy or paused),
                  on_click=_queue().add if paused else _queue().pause, args=(mine,))
        st.button(t("train.stop"), icon=":material/stop:", disabled=not (busy or paused), width=112,
                  on_click=_queue().stop, args=(mine,), key=f"{PAGE}.stop")
    live: Live | None = None if mine is None or busy else st.session_state[f"{PAGE}.live"]
    if live and live.started:
        live.now()  # so that the numbers are those of the weights that can be kept
    st.fragment(_watch, run_every=LOOK_EVERY if busy else None)()
    if live and live.started:
        _keep(live)


def _settings(dataset: DataSet) -> tuple[ModelCard, object, float]:
    """What to train, how, and at which epsilon it is judged."""
    fit = [name for name in SMALL if MODELS[name].shape == dataset.shape
           and bool(MODELS[name].labels) == (dataset.name in data_sets.PARTS)]
    require_fit(MODELS[fit[0]], dataset)
    name = st.selectbox(t("train.network"), fit, format_func=lambda n: architecture_title(MODELS[n]), key=f"{PAGE}.network",
                        persist_state="session")
    method = st.selectbox(t("train.method"), methods(MODELS[name]), format_func=lambda m: t(f"train.method.{m}"),
                          key=f"{PAGE}.method", persist_state="session")
    scale = scale_for(dataset.shape, "linf")
    per = 255 if scale.per_255 else 1
    eps = st.slider(t("control.eps255") if scale.per_255 else t("control.eps.linf"), 0.0, round(scale.path[-1] * per, 3),
                    8.0 if scale.per_255 else 0.1, 0.5 if scale.per_255 else 0.01, key=f"{PAGE}.eps.{per}",
                    persist_state="session", help=t("train.eps.help")) / per
    left, right = st.columns(2, vertical_alignment="bottom")
    epochs = left.number_input(t("train.epochs"), 1, 50, 3, key=f"{PAGE}.epochs", persist_state="session")
    seed = right.number_input(t("train.seed"), 0, 9999, 0, key=f"{PAGE}.seed", persist_state="session")
    more = {}
    if method == "pgd":
        more["steps"] = st.slider(t("setting.steps"), 2, 20, 7, key=f"{PAGE}.steps", persist_state="session")
    if method in ("fgsm", "pgd"):
        more["alpha"] = st.slider(t("train.alpha"), 0.0, 0.9, 0.5 if method == "fgsm" else 0.0, 0.1,
                                  key=f"{PAGE}.alpha.{method}", persist_state="session", help=t("train.alpha.help"))
    if method == "l1":
        more["strength"] = st.select_slider(t("train.strength"), (0.0003, 0.001, 0.003, 0.01, 0.03), 0.003,
                                            key=f"{PAGE}.strength", persist_state="session")
    test = _test_of(dataset)
    judged = int(first_fifths(dataset.labels).sum()) if test is None else len(test)
    looked_at = {"clean": count(min(judged, JUDGED)), "robust": count(min(judged, ROBUST))}
    st.caption(t("train.split", trained=count(len(dataset) - judged), **looked_at) if test is None else
               t("train.judged", **looked_at))
    return MODELS[name], live_recipe(name, method, epochs, eps=eps, seed=seed, **more), eps


def _start(dataset: DataSet, card: ModelCard, recipe, eps: float) -> None:
    """Into the line; what was trained before and not kept is dropped."""
    state = st.session_state
    try:
        live = Live(card, recipe, dataset, _test_of(dataset), eps)
    except UserError as error:
        state[f"{PAGE}.error"] = explain(error)
        return
    if state.get(f"{PAGE}.job"):
        _queue().stop(state[f"{PAGE}.job"])
    state.update({f"{PAGE}.live": live, f"{PAGE}.job": Job(iter(live)), f"{PAGE}.error": None, f"{PAGE}.kept": None})
    _queue().add(state[f"{PAGE}.job"])


def _test_of(dataset: DataSet) -> DataSet | None:
    """The test set that belongs to a training set, where it is here."""
    if dataset.split != "train" or f"{dataset.name}/test" not in controls.data_sets():
        return None
    return cache.dataset(dataset.name, "test", str(data_sets.data_directory()))


def _watch() -> None:
    """Where the training stands. Once it has ended, the page around it changes too."""
    job: Job | None = st.session_state.get(f"{PAGE}.job")
    if st.session_state.get(f"{PAGE}.error"):
        st.error(st.session_state[f"{PAGE}.error"], icon=":material/error:")
    if job is None:
        _progress([], t("train.nothing"), 3)
        return
    live: Live = st.session_state[f"{PAGE}.live"]
    before, reports = _queue().place(job), list(live.reports)
    shown = st.session_state.get(f"{PAGE}.state")
    st.session_state[f"{PAGE}.state"] = job.state
    if job.state == "waiting" and before:
        words = t("train.waiting", before=before)
    elif job.state == "failed":
        words = t("train.failed", reason=explain(job.error) if isinstance(job.error, UserError) else type(job.error).__name__)
    else:
        words = t(f"train.state.{job.state}", name=architecture_title(live.card))
    _progress(reports, words, live.recipe.epochs)
    if shown in ("waiting", "running") and job.state not in ("waiting", "running"):
        st.rerun()


def _progress(reports: list, words: str, epochs: int) -> None:
    """How far, four numbers, and the chart; the same room before the first report."""
    last = reports[-1] if reports else None
    st.progress(last.progress.step / last.progress.steps if last else 0.0, words)
    values = ("–",) * 4
    if last:
        values = (f"{number(100 * last.clean, 1)} %", f"{number(100 * last.robust, 1)} %",
                  number(last.progress.loss, 3), f"{number(last.progress.seconds, 1)} s")
    with st.container(horizontal=True):
        for name, value in zip(("clean", "robust", "loss", "time"), values):
            st.metric(t(f"train.{name}"), value, width=160)
    names = tuple(t(f"train.series.{name}") for name in ("clean", "robust", "shown", "loss"))
    st.plotly_chart(figures.training(reports, epochs, names, t("train.chart"), t("train.epochs")),
                    config={"displayModeBar": False}, key=f"{PAGE}.chart", alt=t("train.chart.alt"))


def _keep(live: Live) -> None:
    """Into the model menu of every page, and onto the user's disk."""
    content, facts, recipe = live.content(), live.facts(), live.recipe
    done = recipe.epochs * facts["steps"] / facts["of_steps"]
    whole = facts["steps"] == facts["of_steps"]
    words = [architecture_title(live.card), t("train.length", n=recipe.epochs if whole else number(done, 1))]
    if recipe.method != "none":
        words.insert(1, t(f"train.method.{_word(recipe)}").partition(" (")[0] + (f" ε {_radius(live)}" if recipe.eps else ""))
    proposed = " · ".join(words)
    left, middle, right, last = st.columns([4, 2, 2, 2], vertical_alignment="bottom")
    name = left.text_input(t("train.name"), proposed, max_chars=60, key=f"{PAGE}.name.{id(live)}").strip() or proposed
    if middle.button(t("train.keep"), type="primary", icon=":material/bookmark:", width="stretch", key=f"{PAGE}.keep"):
        st.session_state[f"{PAGE}.kept"] = controls.keep_network(name, {
            "architecture": live.card.name, "digest": live.digest(), "mean": live.card.mean, "std": live.card.std,
            "content": content, "seen": controls.seen(facts)})
    file = "-".join(word for word in (live.card.name, recipe.method != "none" and _word(recipe),
                                      recipe.eps and f"eps{recipe.eps:.3g}", f"{done:.3g}-epochs",
                                      f"seed{recipe.seed}") if word)
    with right:
        st.download_button(t("networks.weights"), content, f"{file}.safetensors", icon=":material/download:",
                           width="stretch", key=f"{PAGE}.weights")
    with last:
        st.download_button(t("networks.card"), json.dumps(facts, indent=1), f"{file}.json", "application/json",
                           icon=":material/download:", width="stretch", key=f"{PAGE}.card")
    if st.session_state.get(f"{PAGE}.kept"):
        st.success(t("train.kept", name=st.session_state[f"{PAGE}.kept"]), icon=":material/bookmark_added:")


def _radius(live: Live) -> str:
    """Epsilon as the slider shows it."""
    return f"{number(live.eps * 255, 1)}/255" if live.card.shape[0] == 3 else number(live.eps, 2)


def _word(recipe) -> str:
    if recipe.method == "adversarial":
        return "fgsm" if recipe.steps == 1 else "pgd"
    return recipe.method
