"""How accuracy falls as epsilon grows: shipped curves at once, new ones streaming in."""
import itertools
import time
from dataclasses import dataclass

import streamlit as st

from core.analysis.checks import of_curves
from core.attacks import ATTACKS
from core.data import DataSet
from core.defenses import DEFENSES
from core.epsilons import STRENGTHS, scale_for
from core.errors import UserError
from core.evaluation import Point, accuracy_curve, require_fit
from core.evaluate import parse_epsilons
from core.images import to_uint8
from core.models.cards import MODELS
from core.settings import settings_of
from dashboard import alarms, cache, controls, figures, link, results, tables, tiles
from dashboard.i18n import attack_title, class_name, number, t

PAGE = "curves"
ATTACKERS = ("none", "unaware", "aware")  # no defense; a defense that the attacker does not know, or does
DASHES = {"none": "solid", "unaware": "dash", "aware": "dot"}
QUALITY = 40  # of the shipped curves


@dataclass(frozen=True)
class Plan:
    """One curve to draw or compute."""

    model: str
    attack: str
    settings: tuple
    attacker: str
    defense: str | None
    defense_settings: tuple
    weights: str  # tells a user's checkpoint from another of the same name

    @property
    def name(self) -> str:
        defense = f" · {self.defended}, {t('curves.' + self.attacker)}" if self.defense else ""
        return f"{controls.model_title(self.model)} · {attack_title(ATTACKS[self.attack].title)}{defense}"

    @property
    def defended(self) -> str:
        """The defense and where its slider stands, or a dash."""
        return controls.defense_name(self.defense, self.defense_settings) if self.defense else "–"


def render() -> None:
    """Controls in the sidebar; chart, table and examples in the page."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "n": (f"{PAGE}.n", link.between(int, 1, 60_000)),
                        "defense": (f"{PAGE}.defense", link.one_of([*DEFENSES, "none"])),
                        **{each.name: (controls.setting_key(PAGE, each), link.setting(each)) for each in _sliders()},
                        "attacks": (f"{PAGE}.attacks", link.several(ATTACKS))})
    controls.take_own_checkpoint(PAGE)
    st.title(t("curves.title"))
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=lambda: st.session_state.pop(f"{PAGE}.models", None))
        if dataset is None:
            return
        plans, epsilons, n = _plans(dataset)
    left, right, _ = st.columns([2, 1, 5])
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch",
                        disabled=not plans)
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch")  # any click ends the running script
    progress = controls.progress_room()
    progress.caption(t("curves.idle"))
    chart = st.container()
    done = st.session_state.setdefault(f"{PAGE}.done", {})
    norms = list(dict.fromkeys(ATTACKS[plan.attack].norm for plan in plans))
    places = {norm: chart.empty() for norm in norms}
    for norm, place in places.items():
        _draw(place, norm, dataset, plans, done)
    if start:
        _compute(dataset, plans, epsilons, n, done, progress, places)
    _alarms(dataset, plans, done)
    _table(dataset, plans, done)
    if plans:
        _examples(dataset, plans, epsilons)
    defended = next((plan for plan in plans if plan.defense), None)
    slider = DEFENSES[defended.defense].slider if defended else ""
    link.write({"data": st.session_state[f"{PAGE}.data"], "n": n, "defense": defended.defense if defended else None,
                slider: dict(defended.defense_settings)[slider] if defended else None,
                "attacks": ",".join(st.session_state[f"{PAGE}.attacks"]) or None})


def _plans(dataset: DataSet) -> tuple[list[Plan], dict[str, tuple[float, ...]], int]:
    """What the sidebar asks for: curves, epsilons of each norm, and how many images."""
    names = controls.model_names(dataset)
    models = st.multiselect(t("control.models"), controls.own_first(names), names[:2],
                            format_func=controls.model_title, key=f"{PAGE}.models", persist_state="session")
    st.session_state.setdefault(f"{PAGE}.attacks", ["fgsm", "pgd", "noise"])
    attacks = st.multiselect(t("control.attacks"), list(ATTACKS), format_func=lambda n: attack_title(ATTACKS[n].title),
                             key=f"{PAGE}.attacks", persist_state="session")
    settings = controls.shared_settings(PAGE, [ATTACKS[name] for name in attacks])
    st.session_state.setdefault(f"{PAGE}.defense", "none")
    st.session_state.setdefault(controls.setting_key(PAGE, _sliders()[0]), QUALITY)
    chosen = controls.defense_menu(PAGE, dataset.shape[0] == 1, slider=True)
    epsilons = {}
    for norm in dict.fromkeys(ATTACKS[name].norm for name in attacks):
        scale = scale_for(dataset.shape, norm)
        text = ", ".join(f"{e * 255:g}/255" if scale.per_255 and e else f"{e:g}" for e in scale.curve)
        given = st.text_input(t(f"curves.epsilons.{norm}"), text, key=f"{PAGE}.eps.{dataset.shape[1]}.{norm}",
                              persist_state="session")
        try:
            epsilons[norm] = parse_epsilons(given)
        except UserError as error:
            st.error(controls.explain(error), icon=":material/error:")
            epsilons[norm] = scale.curve
    st.session_state[f"{PAGE}.n"] = min(st.session_state.get(f"{PAGE}.n", 500), len(dataset))
    n = st.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=f"{PAGE}.n", persist_state="session")
    attackers = ATTACKERS if chosen else ATTACKERS[:1]
    plans = [Plan(model, attack, settings[ATTACKS[attack]], attacker,
                  *((chosen.name, chosen.settings) if attacker != "none" else (None, ())), controls.weights_of(model))
             for model, attack, attacker in itertools.product(models, attacks, attackers)
             if not (attacker == "aware" and "noise" in attack)]  # noise learns nothing from what it knows
    return plans, epsilons, n


def _sliders():
    """The setting of each defense that its slider moves, JPEG's first."""
    return [each for kind in DEFENSES.values() for each in settings_of(kind) if each.name == kind.slider]


def _draw(place, norm: str, dataset: DataSet, plans: list[Plan], done: dict) -> None:
    """The chart of one norm, from what is shipped and what has been computed."""
    colours = {pair: k for k, pair in enumerate(dict.fromkeys((plan.model, plan.attack) for plan in plans))}
    curves = []
    for plan in plans:
        if ATTACKS[plan.attack].norm != norm:
            continue
        colour = colours[plan.model, plan.attack]
        shipped, live = _shipped(dataset, plan), done.get((_data_key(dataset), plan))
        if shipped:
            total = shipped[0].total
            curves.append(figures.Curve(f"{plan.name} ({t('curves.precomputed', n=total)})", colour,
                                        DASHES[plan.attacker], True, shipped))
        if live:
            name = f"{plan.name} (n = {live[0].total})"
            curves.append(figures.Curve(name, colour, DASHES[plan.attacker], False, live))
    if not curves:
        place.info(t("curves.nothing"), icon=":material/show_chart:")
        return
    per_255 = scale_for(dataset.shape, norm).per_255
    figure = figures.accuracy(curves, t("curves.chart"), controls.epsilon_axis(dataset.shape, norm), t("curves.accuracy"),
                              per_255)
    place.plotly_chart(figure, config={"displayModeBar": False}, alt=t("curves.chart.alt"))


def _shipped(dataset: DataSet, plan: Plan) -> list[Point] | None:
    """The shipped curve of the same network, attack and defense on the official test set."""
    for each in results.shipped():
        same = (each["dataset"], each["model"], each["attack"]) == (dataset.name, plan.model, plan.attack)
        if same and each["settings"] == dict(plan.settings) and each["defense"] == plan.defense and (
                each["attacker_knows_defense"] == (plan.attacker == "aware")) and (
                dict(plan.defense_settings).items() <= each["defense_settings"].items()):
            return each["points"]
    return None


def _data_key(dataset: DataSet) -> str:
    return f"{dataset.name}/{dataset.split}"


def _compute(dataset: DataSet, plans, epsilons, n: int, done: dict, progress, places) -> None:
    """All curves, batch by batch. Every batch is kept at once: a stop loses nothing that was measured."""
    started, drawn, images = time.monotonic(), 0.0, 0
    for k, plan in enumerate(plans):
        network = controls.network(plan.model)
        if network is None:
            continue
        require_fit(network.card, dataset)
        norm = ATTACKS[plan.attack].norm
        defense = DEFENSES[plan.defense](**dict(plan.defense_settings)) if plan.defense else None
        for points in accuracy_curve(network.module, ATTACKS[plan.attack](**dict(plan.settings)), dataset,
                                     epsilons[norm], limit=n, defense=defense, aware=plan.attacker == "aware"):
            done[_data_key(dataset), plan] = points
            images = k * n + points[0].total
            elapsed, share = time.monotonic() - started, images / (n * len(plans))
            progress.progress(share, t("curves.progress", name=plan.name, done=points[0].total, n=n,
                                       left=_seconds(elapsed / share * (1 - share))))
            if time.monotonic() - drawn > 0.4 or points[0].total == n:
                _draw(places[norm], norm, dataset, plans, done)
                drawn = time.monotonic()
    progress.caption(t("curves.idle"))


def _alarms(dataset: DataSet, plans: list[Plan], done: dict) -> None:
    """What the curves of each network, defense and norm say together about whether they can be believed."""
    groups: dict[tuple, list] = {}
    for plan in plans:
        points = done.get((_data_key(dataset), plan)) or _shipped(dataset, plan)
        if points and plan.attacker != "unaware":  # who does not know the defense may well be beaten by chance
            groups.setdefault((plan.model, plan.defended, ATTACKS[plan.attack].norm), []).append(
                (ATTACKS[plan.attack](**dict(plan.settings)), points))
    for (model, defended, _), curves in groups.items():
        fired = [finding for finding in of_curves(curves, _clean(model, defended, curves)) if finding.fired]
        if fired:
            name = controls.model_title(model) + (f" · {defended}" if defended != "–" else "")
            st.html(alarms.cards(fired, len(fired), name))


def _clean(model: str, defended: str, curves: list) -> float | None:
    """The clean accuracy on a network's card, where the curves are the bare network's on the same whole test set."""
    score = MODELS[model].measured.get("accuracy") if model in MODELS and defended == "–" else None
    shipped = [each["points"] for each in results.shipped() if each["split"] == "test"]
    same = score and all(points[0].total == score["n"] and points in shipped for _, points in curves)
    return score["accuracy"] if same else None


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 90 else f"{value / 60:.0f} min"


def _table(dataset: DataSet, plans, done: dict) -> None:
    """Every number of the charts, to read and to download."""
    rows = []
    for plan in plans:
        for source, points in (("precomputed", _shipped(dataset, plan)),
                               ("live", done.get((_data_key(dataset), plan)))):
            settings = " ".join(f"{name}={value}" for name, value in plan.settings)
            rows += [{t("curves.model"): controls.model_title(plan.model),
                      t("curves.attack"): attack_title(ATTACKS[plan.attack].title), t("curves.settings"): settings,
                      t("curves.norm"): ATTACKS[plan.attack].norm,
                      t("control.defense"): plan.defended,
                      t("curves.attacker"): "–" if plan.attacker == "none" else t(f"curves.{plan.attacker}"),
                      "epsilon": round(p.epsilon, 6), t("curves.correct"): p.correct, "n": p.total,
                      t("curves.accuracy"): round(p.accuracy, 4), t("curves.low"): round(p.low, 4),
                      t("curves.high"): round(p.high, 4), t("curves.origin"): t(f"curves.origin.{source}")}
                     for p in points or ()]
    if not rows:
        return
    st.caption(t("curves.how"))
    tables.table(rows, f"epsilon-lab-{dataset.name}.csv")


def _examples(dataset: DataSet, plans, epsilons) -> None:
    """Ten images, one a class where there are enough, at every epsilon: true -> predicted."""
    st.subheader(t("curves.examples"))
    bare = list(dict.fromkeys((plan.model, plan.attack, plan.settings) for plan in plans))
    model, attack, settings = st.selectbox(
        t("curves.examples.of"), bare, key=f"{PAGE}.examples", label_visibility="collapsed",
        format_func=lambda each: f"{controls.model_title(each[0])} · {attack_title(ATTACKS[each[1]].title)}")
    network = controls.network(model)
    if network is None:
        return
    require_fit(network.card, dataset)
    kind = ATTACKS[attack]
    values = epsilons[kind.norm] if kind.bounded else STRENGTHS.curve
    some = cache.examples(network.key, _data_key(dataset), attack, settings, values, _model=network.module,
                          _dataset=dataset)
    names = [class_name(name) for name in dataset.classes]
    per_255 = kind.bounded and scale_for(dataset.shape, kind.norm).per_255
    rows = []
    for each in some:
        head = f"ε = {number(each.epsilon * 255, 0)}/255" if per_255 else f"ε = {number(each.epsilon, 2)}"
        if not kind.bounded:
            head = t("curves.strength", value=number(each.epsilon, 1))
        rows.append((head, [tiles.tile(image, f"{names[true]} → {names[predicted]}", true != predicted)
                            for image, true, predicted in zip(to_uint8(each.images), each.labels, each.predicted)]))
    st.html(tiles.table(rows, 58))
