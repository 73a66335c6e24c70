"""Defenses: how JPEG works, whether a defense helps, and whether it holds against an attacker who knows it."""
import time

import streamlit as st

from core.analysis.checks import CHECKS, Finding, examine
from core.attacks import ATTACKS
from core.data import DataSet
from core.defense_grid import Grid, defense_grid
from core.defenses import DEFENSES, Defense, Stack, positions
from core.defenses.adaptive import DRAWS
from core.epsilons import STRENGTHS, scale_for
from core.evaluation import accuracy_curve, require_fit
from core.images import to_uint8
from core.models.cards import MODELS
from core.statistics import wilson
from dashboard import alarms, cache, controls, figures, jpeg, link, palette, tables, tiles
from dashboard.i18n import attack_title, class_name, defense_title, number, t

PAGE = "defenses"
HOLDS = f"{PAGE}.holds"  # whose attack is another one: a single step proves nothing there
SECTIONS = ("jpeg", "helps", "holds")
STOPS = {"jpeg": (2, 5, 10, 20, 30, 40, 50, 60, 75, 90, 100)}  # of the slider in a grid; else eight of its positions
FIRST_DIGIT = 4155  # the one that Explore opens with
EXAMPLES = 1000  # images among which one is searched that the defense mends
PLAIN = {"displayModeBar": False}


def render() -> None:
    """The section's controls in the sidebar, its figures in the page."""
    link.restore(PAGE, {"section": (f"{PAGE}.section", link.one_of(SECTIONS)),
                        "data": (f"{PAGE}.data", link.one_of(controls.data_sets())),
                        "image": (f"{PAGE}.index", link.between(int, 0, 10 ** 6)),
                        "model": (f"{PAGE}.model", link.one_of(MODELS)),
                        "attack": (f"{PAGE}.attack", link.one_of(ATTACKS)),
                        "attacker": (f"{HOLDS}.attack", link.one_of(ATTACKS)),
                        "quality": (f"{PAGE}.quality", link.between(int, 1, 100)),
                        "defense": (f"{PAGE}.defense", link.one_of(DEFENSES)),
                        "stack": (f"{PAGE}.stack", link.several(DEFENSES)),
                        "n": (f"{PAGE}.n", link.between(int, 1, 60_000))})
    controls.take_own_checkpoint(PAGE)
    st.session_state.setdefault(f"{PAGE}.index", FIRST_DIGIT)
    st.session_state.setdefault(f"{PAGE}.section", SECTIONS[0])
    section = st.segmented_control(t("defenses.section"), SECTIONS, key=f"{PAGE}.section", label_visibility="collapsed",
                                   format_func=lambda name: t(f"defenses.section.{name}"), persist_state="session",
                                   required=True)
    with st.sidebar:
        dataset = controls.data_menu(PAGE, on_change=lambda: st.session_state.update({f"{PAGE}.index": 0}))
        if dataset is None:
            return
        subject = controls.image_menu(PAGE, dataset) if section == "jpeg" else None
        network = controls.model_menu(PAGE, dataset)
    if network is None:
        return
    require_fit(network.card, dataset)
    written = {"section": section, "data": st.session_state[f"{PAGE}.data"], "model": network.card.name}
    shown = {"jpeg": _jpeg, "helps": _helps, "holds": _holds}[section](dataset, network, subject)
    link.write(written | shown)


# JPEG, step by step

def _jpeg(dataset: DataSet, network: controls.Network, subject: controls.Subject) -> dict:
    with st.sidebar:
        st.session_state.setdefault(f"{PAGE}.image", "attacked")
        kind = st.segmented_control(t("defenses.image"), ["clean", "attacked"], key=f"{PAGE}.image", required=True,
                                    format_func=lambda name: t(f"defenses.image.{name}"), persist_state="session")
        settings = controls.defense_settings(PAGE, DEFENSES["jpeg"], dataset.shape[0] == 1, hidden=("quality",))
        attack = controls.attack_menu(PAGE)
        eps = controls.epsilon_slider(PAGE, dataset.shape, attack.kind)
    x = cache.image(subject.shape, subject.pixels)
    key = (network.key, subject.shape, subject.pixels)
    if kind == "attacked":
        place = 1.0 if eps is None else eps
        path = cache.path(*key, subject.label, None, attack.name, attack.settings, (0.0, place), _model=network.module)
        x, key = path.adversarial[1:], (*key, attack, place)
    before = cache.prediction_of(key, _model=network.module, _image=x)
    after = cache.over_slider(key, "jpeg", settings, _model=network.module, _image=x)
    quality = st.session_state.setdefault(f"{PAGE}.quality", 40)
    released = jpeg.jpeg_lab(jpeg.message(x, dict(settings).get("subsampling", "4:2:0"), quality, after, before,
                                          subject.classes), key=f"{PAGE}.steps")
    if isinstance(released, int) and 1 <= released <= 100:
        st.session_state[f"{PAGE}.quality"] = released
    return {"image": None if subject.label is None else st.session_state[f"{PAGE}.index"], "attack": attack.name,
            "quality": st.session_state[f"{PAGE}.quality"]}


# Does it help?

def _helps(dataset: DataSet, network: controls.Network, _) -> dict:
    with st.sidebar:
        attack = controls.attack_menu(PAGE)
        name = st.selectbox(t("control.defense"), list(DEFENSES), key=f"{PAGE}.defense", persist_state="session",
                            format_func=lambda key: defense_title(DEFENSES[key].title))
        kind = DEFENSES[name]
        settings = controls.defense_settings(PAGE, kind, dataset.shape[0] == 1, hidden=(kind.slider,))
        n = _count(dataset)
    epsilons = scale_for(dataset.shape, attack.kind.norm).curve if attack.kind.bounded else STRENGTHS.curve
    stops = STOPS.get(name) or _some(positions(kind), 8)
    key = (network.key, f"{dataset.name}/{dataset.split}", attack.name, attack.settings, name, settings, n)
    head, status, start = _start(n)
    done = st.session_state.setdefault(f"{PAGE}.grids", {})
    if start or (key not in done and not attack.kind.iterated and attack.kind.bounded and n <= 200):
        built = [kind(**dict(settings), **{kind.slider: stop}) for stop in stops]
        for found in defense_grid(network.module, attack.build(), built, dataset, epsilons, limit=n):
            done[key] = found, []
            status.progress(found.total / n / 2, t("defenses.progress", done=found.total, n=n))
        for k, one in enumerate(built):  # an attacker who knows the defense, at the eps in the middle
            *_, points = accuracy_curve(network.module, attack.build(), dataset, [epsilons[len(epsilons) // 2]], limit=n,
                                        defense=one, aware=True)
            done[key] = found, [*done[key][1], points[0].correct]
            status.progress((1 + (k + 1) / len(built)) / 2, t("defenses.knows", value=stops[k]))
    status.caption(t("defenses.helps.unaware", attack=attack_title(attack.kind.title)))
    if key in done:
        _draw_grid(*done[key], dataset, attack, kind, stops, head)
        _example(dataset, network, attack, name, settings)
    else:
        head.subheader(t("defenses.title"))
        st.info(t("minimal.nothing"), icon=":material/play_arrow:")
    return {"attack": attack.name, "defense": name, "n": n}


def _count(dataset: DataSet) -> int:
    st.session_state[f"{PAGE}.n"] = min(st.session_state.get(f"{PAGE}.n", 200), len(dataset))
    return st.number_input(t("curves.n", last=len(dataset)), 1, len(dataset), key=f"{PAGE}.n", persist_state="session")


def _start(n: int):
    """The headline's room, the buttons, the progress bar's room; and whether to compute."""
    head = st.container(key="headline")
    left, right, _ = st.columns([2, 1, 5])
    start = left.button(t("curves.compute", n=n), type="primary", icon=":material/play_arrow:", width="stretch")
    right.button(t("curves.stop"), icon=":material/stop:", width="stretch")  # any click ends the running script
    return head, controls.progress_room(), start


def _some(stops: tuple, count: int) -> tuple:
    return tuple(stops[round(k * (len(stops) - 1) / (count - 1))] for k in range(count)) if len(stops) > count else stops


def _epsilon(dataset: DataSet, attack: controls.Choice, eps: float) -> str:
    if attack.kind.bounded and scale_for(dataset.shape, attack.kind.norm).per_255:
        return f"{number(255 * eps, 0)}/255"
    return number(eps, 2)


def _draw_grid(grid: Grid, aware: list[int], dataset: DataSet, attack: controls.Choice, kind: type[Defense], stops: tuple, head) -> None:
    names = [number(stop, 0 if isinstance(stop, int) else 2) for stop in stops]
    epsilons = [_epsilon(dataset, attack, eps) for eps in grid.epsilons]
    setting, n = t(f"setting.{kind.slider}"), grid.total
    middle = len(epsilons) // 2
    best = int(grid.correct[:, middle].argmax())
    title = defense_title(kind.title)
    head.subheader(t("defenses.helps.headline", eps=epsilons[middle], name=title, value=names[best],
                     recovered=_percent(grid.recovered[best, middle], grid.fooled[middle]),
                     spoiled=_percent(grid.spoiled[best], grid.bare[0])))
    accuracy = [*(grid.correct / n), grid.bare / n]
    st.plotly_chart(figures.accuracy_map([list(column) for column in zip(*accuracy)], [*names, t("defenses.none")], epsilons,
                                         t("defenses.grid", setting=setting), setting, "ε"),
                    config=PLAIN, alt=t("defenses.grid.alt"))
    colours = palette.ramp(len(stops))
    left, right = st.columns(2)
    lines = [_line(t("defenses.none"), "#7a7d85", "dot", grid.bare, [n] * len(epsilons)),
             *(_line(f"{setting} {name}", colour, "solid", grid.correct[k], [n] * len(epsilons))
               for k, (name, colour) in enumerate(zip(names, colours)) if k % max(1, len(names) // 5) == 0)]
    left.plotly_chart(figures.shares(lines, epsilons, t("defenses.over_eps"), "ε", t("curves.accuracy")), config=PLAIN,
                      alt=t("defenses.lines.alt"))
    lines = [_line(f"ε = {epsilons[e]}", colour, "solid", grid.correct[:, e], [n] * len(stops))
             for e, colour in zip(range(len(epsilons)), palette.ramp(len(epsilons)))]
    if aware:
        lines.append(_line(t("curves.aware"), palette.CURVES[4], "dash", aware, [n] * len(aware)))
    right.plotly_chart(figures.shares(lines, names, t("defenses.over_value", setting=setting), setting, t("curves.accuracy")), config=PLAIN,
                       alt=t("defenses.lines.alt"))
    lines = [_line(f"ε = {epsilons[e]}", colour, "solid", grid.recovered[:, e],
                   [grid.fooled[e]] * len(stops))
             for e, colour in zip(range(1, len(epsilons)), palette.ramp(len(epsilons) - 1)) if grid.fooled[e]]
    lines.append(_line(t("defenses.spoiled"), palette.CURVES[4], "dash", grid.spoiled, [grid.bare[0]] * len(stops)))
    st.plotly_chart(figures.shares(lines, names, t("defenses.mend"), setting, t("defenses.share")), config=PLAIN,
                    alt=t("defenses.lines.alt"))
    st.caption(t("defenses.how", n=n))
    _grid_table(grid, aware, names, setting)


def _percent(part: int, whole: int) -> str:
    return f"{number(100 * part / whole, 0)} %" if whole else "–"


def _line(name: str, colour: str, dash: str, counts, totals) -> figures.Share:
    ends = [wilson(int(count), int(total)) for count, total in zip(counts, totals)]
    return figures.Share(name, colour, dash, [count / max(1, total) for count, total in zip(counts, totals)],
                         [low for low, _ in ends], [high for _, high in ends])


def _grid_table(grid: Grid, aware: list[int], names: list[str], setting: str) -> None:
    middle = len(grid.epsilons) // 2
    rows = [{"epsilon": round(eps, 6), setting: name, t("curves.correct"): int(grid.correct[v, e]), "n": grid.total,
             t("defenses.none"): int(grid.bare[e]), t("defenses.recovered"): int(grid.recovered[v, e]),
             t("defenses.spoiled"): int(grid.spoiled[v]),
             t("curves.aware"): aware[v] if e == middle and v < len(aware) else None}
            for e, eps in enumerate(grid.epsilons) for v, name in enumerate(names)]
    tables.table(rows, "epsilon-lab-defense-grid.csv")


def _example(dataset: DataSet, network: controls.Network, attack: controls.Choice, name: str, settings: tuple) -> None:
    """The image that attack and defense are surest about, with the defense's slider at its default."""
    st.subheader(t("defenses.example"))
    kind = DEFENSES[name]
    limit = min(EXAMPLES, len(dataset)) if not attack.kind.iterated and attack.kind.bounded else 100
    eps = scale_for(dataset.shape, attack.kind.norm).start if attack.kind.bounded else None
    found = cache.mended((network.key, f"{dataset.name}/{dataset.split}"), attack.name, attack.settings, eps, name,
                         settings, limit, _model=network.module, _dataset=dataset)
    if found is None:
        st.caption(t("defenses.example.none", n=limit))
        return
    names = [class_name(each) for each in dataset.classes]
    words = ((t("defenses.example.clean", name=names[found.label]), False),
             (t("defenses.example.fooled", name=names[found.read_as], sure=number(100 * found.sure_fooled, 0)), True),
             (t("defenses.example.mended", name=names[found.label], sure=number(100 * found.sure_mended, 0)), False))
    st.html(tiles.grid([tiles.tile(image, *word) for image, word in zip(to_uint8(found.images), words)], 150, 220))
    built = kind(**dict(settings))
    query = {"data": st.session_state[f"{PAGE}.data"], "image": found.index, "model": network.card.name,
             "attack": attack.name, "defense": name, kind.slider: getattr(built, kind.slider)}
    if eps is not None:
        query["eps"] = f"{eps:.6g}"
    if network.title == controls.model_title(network.card.name):  # a link cannot carry one's own weights
        st.markdown("[" + t("defenses.example.open", index=found.index) + "](/explore?"
                    + "&".join(f"{key}={value}" for key, value in query.items()) + ")")


# Does it hold?

def _holds(dataset: DataSet, network: controls.Network, _) -> dict:
    with st.sidebar:
        st.session_state.setdefault(f"{HOLDS}.attack", "pgd")
        attack = controls.attack_menu(HOLDS)
        eps = controls.epsilon_slider(PAGE, dataset.shape, attack.kind)
        st.session_state.setdefault(f"{PAGE}.stack", ["jpeg"])
        names = st.multiselect(t("defenses.stack"), list(DEFENSES), key=f"{PAGE}.stack", persist_state="session",
                               format_func=lambda key: defense_title(DEFENSES[key].title))
        chosen = [(name, controls.defense_settings(PAGE, DEFENSES[name], dataset.shape[0] == 1)) for name in names]
        n = _count(dataset)
    if not names:
        st.info(t("defenses.holds.choose"), icon=":material/shield:")
        return {"attacker": attack.name, "stack": None, "n": n}
    defense = Stack(*(DEFENSES[name](**dict(settings)) for name, settings in chosen))
    label = " + ".join(controls.defense_name(name, settings) for name, settings in chosen)
    scale = STRENGTHS if eps is None else scale_for(dataset.shape, attack.kind.norm)
    at = 1.0 if eps is None else eps
    epsilons = tuple(sorted({0.0, *scale.curve, at}))
    key = (network.key, f"{dataset.name}/{dataset.split}", attack.name, attack.settings, tuple(chosen), n, epsilons)
    head, status, start = _start(n)
    done = st.session_state.setdefault(f"{PAGE}.curves", {})
    chart = st.empty()
    quick = attack.name in ("fgsm", "fgm", "pgd", "pgd-l2") and dataset.shape[0] == 1 and n <= 200 and not defense.randomized
    if start or (key not in done and quick):
        _compute(network, attack, defense, dataset, epsilons, n, done.setdefault(key, {}), status, chart, label)
    status.caption(t("defenses.holds.ways", draws=DRAWS))
    curves = done.get(key, {})
    if len(curves) == 3:
        share = {name: points[epsilons.index(at)] for name, points in curves.items()}
        head.subheader(t("defenses.holds.headline", eps=_epsilon(dataset, attack, at), **{
            name: f"{number(100 * point.accuracy, 0)} %" for name, point in share.items()}))
    else:
        head.subheader(t("defenses.title"))
    if curves:
        _draw_curves(chart, curves, attack, dataset, label, "last")
        tables.table([{t("curves.attacker"): t(f"curves.{name}") if name != "bare" else t("defenses.holds.none"),
                      "epsilon": round(p.epsilon, 6), t("curves.correct"): p.correct, "n": p.total,
                      t("curves.accuracy"): round(p.accuracy, 4), t("curves.low"): round(p.low, 4),
                      t("curves.high"): round(p.high, 4)} for name, points in curves.items() for p in points],
                     "epsilon-lab-defense-curves.csv")
    else:
        chart.info(t("minimal.nothing"), icon=":material/play_arrow:")
    _checks(dataset, network, attack, defense, tuple(chosen), at)
    return {"attacker": attack.name, "stack": ",".join(names), "n": n}


def _compute(network, attack, defense, dataset, epsilons, n, curves, status, chart, label) -> None:
    """Three curves, batch by batch; every batch is kept at once."""
    drawn = 0.0
    for k, (name, options) in enumerate((("bare", {}), ("unaware", {"defense": defense}),
                                         ("aware", {"defense": defense, "aware": True}))):
        for points in accuracy_curve(network.module, attack.build(), dataset, epsilons, limit=n, **options):
            curves[name] = points
            status.progress((k + points[0].total / n) / 3, t("defenses.progress", done=points[0].total, n=n))
            if time.monotonic() - drawn > 0.4:
                _draw_curves(chart, curves, attack, dataset, label, f"{name}.{points[0].total}")
                drawn = time.monotonic()


def _draw_curves(chart, curves: dict, attack: controls.Choice, dataset: DataSet, label: str, turn: str) -> None:
    names = {"bare": t("defenses.holds.none"), "unaware": f"{label}, {t('curves.unaware')}",
             "aware": f"{label}, {t('curves.aware')}"}
    dashes = {"bare": "dot", "unaware": "dash", "aware": "solid"}
    lines = [figures.Curve(f"{names[name]} (n = {points[0].total})", k, dashes[name], False, points)
             for k, (name, points) in enumerate(curves.items())]
    per_255 = attack.kind.bounded and scale_for(dataset.shape, attack.kind.norm).per_255
    axis = controls.epsilon_axis(dataset.shape, attack.kind.norm)
    chart.plotly_chart(figures.accuracy(lines, t("defenses.holds.chart"), axis, t("curves.accuracy"), per_255),
                       config=PLAIN, alt=t("curves.chart.alt"), key=f"{PAGE}.holds.{turn}")


def _checks(dataset: DataSet, network: controls.Network, attack: controls.Choice, defense: Stack, chosen: tuple,
            at: float) -> None:
    """The alarms for this network behind this defense, one after the other as they are found."""
    st.subheader(t("defenses.alarms"))
    norm = attack.kind.norm if attack.kind.bounded and attack.kind.norm in ("linf", "l2") else "linf"
    eps = at if norm == attack.kind.norm and attack.kind.bounded else scale_for(dataset.shape, "linf").start
    limit = min(100 if dataset.shape[0] == 1 else 40, len(dataset))
    key = (network.key, f"{dataset.name}/{dataset.split}", chosen, norm, eps, limit)
    done: dict[tuple, list[Finding]] = st.session_state.setdefault(f"{PAGE}.findings", {})
    start = st.button(t("defenses.alarms.run"), icon=":material/notifications:")
    st.caption(t("defenses.alarms.idle", n=limit, eps=f"{number(255 * eps, 0)}/255" if dataset.shape[0] == 3 and norm == "linf"
                 else number(eps, 2)))
    place = st.empty()
    if start:
        found = []
        place.html(alarms.cards(found, len(CHECKS)))
        for finding in examine(network.module, dataset, eps, norm=norm, defense=defense, limit=limit):
            found.append(finding)
            place.html(alarms.cards(found, len(CHECKS)))
        done[key] = found
    elif key in done:
        place.html(alarms.cards(done[key], len(CHECKS)))
