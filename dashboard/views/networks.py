"""Every network: what it can do clean and attacked, how it was made, and what its first layer looks for."""
import json
from dataclasses import fields

import streamlit as st

from core.models.cards import MODELS, ModelCard
from core.training.recipes import Recipe
from dashboard import first_layers, link, scatter, tiles
from dashboard.i18n import attack_title, count, network_title, number, t

PAGE = "networks"
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
ATTACKED = {"fgsm": "FGSM", "pgd": "PGD-20", "strong": "Strong evaluation (L-inf)"}
DEFAULTS = {field.name: field.default for field in fields(Recipe)}


def render() -> None:
    """A scatter and a table; a card beside them; weights of two networks below."""
    link.restore(PAGE, {"data": (f"{PAGE}.data", link.one_of(DATA)),
                        "attack": (f"{PAGE}.attack", link.one_of(ATTACKED)),
                        "network": (f"{PAGE}.network", link.one_of(MODELS))})
    st.title(t("networks.title"))
    st.caption(t("networks.how"))
    with st.sidebar:
        data, attack, eps = _choices()
    cards = [card for card in MODELS.values() if card.dataset == data and card.measured]
    if not cards:
        st.info(t("networks.nothing"), icon=":material/hub:")
        return
    left, right = st.columns([64, 36], gap="large")
    with left:
        _scatter(cards, attack, eps)
        _table(cards, eps, data)
    chosen = st.session_state.get(f"{PAGE}.network")
    card = MODELS[chosen] if chosen in MODELS and MODELS[chosen] in cards else cards[0]
    with right.container(border=True):
        _card(card)
    st.divider()
    first_layers.draw(data)
    link.write({"data": data, "attack": attack, "network": card.name})


def _choices() -> tuple[str, str, float]:
    """Data set, attack and epsilon of the chart."""
    st.session_state.setdefault(f"{PAGE}.data", "mnist")
    data = st.segmented_control(t("control.data"), DATA, format_func=DATA.get, required=True,
                                key=f"{PAGE}.data", persist_state="session", width="stretch")
    st.session_state.setdefault(f"{PAGE}.attack", "pgd")
    attack = st.selectbox(t("control.attack"), ATTACKED, key=f"{PAGE}.attack", format_func=_short,
                          persist_state="session")
    sizes = sorted({line["eps"] for card in MODELS.values() if card.dataset == data
                    for line in card.measured.get("robust", [])}) or [0.0]
    eps = st.segmented_control("ε (L-inf)", sizes, default=sizes[-1], required=True, key=f"{PAGE}.eps.{data}",
                               format_func=lambda e: _epsilon(e, data), width="stretch")
    return data, attack, eps


def _short(attack: str) -> str:
    return attack_title(ATTACKED[attack]).partition(" (")[0]


def _epsilon(eps: float, data: str) -> str:
    return f"{eps * 255:.0f}/255" if data == "cifar10" else number(eps, 2)


def _line(card: ModelCard, attack: str, eps: float) -> dict | None:
    return next((line for line in card.measured.get("robust", []) if (line["attack"], line["eps"]) == (attack, eps)), None)


def _method(card: ModelCard) -> str:
    """How a network was trained, in a word that has a colour."""
    recipe = card.measured["recipe"]
    if recipe["method"] in ("adversarial", "noisy"):
        return "fgsm" if recipe["steps"] == 1 else "pgd"
    return "plain" if recipe["method"] == "none" else "other"


def _label(card: ModelCard) -> str:
    """A network's name where shape and colour say already how it was trained: without that."""
    return network_title(card) if _method(card) == "plain" else network_title(card).partition(",")[0]


def _scatter(cards: list[ModelCard], attack: str, eps: float) -> None:
    dots = [scatter.Dot(card.name, network_title(card), _label(card), _method(card), card.measured["accuracy"], line)
            for card in cards if (line := _line(card, attack, eps))]
    words = {name: t(f"networks.method.{name}") for name in scatter.METHODS}
    figure = scatter.clean_against_robust(dots, words, t("networks.chart"), t("networks.clean"), t("networks.robust"))
    clicked = st.plotly_chart(figure, on_select="rerun", selection_mode="points", key=f"{PAGE}.scatter",
                              config={"displayModeBar": False}, alt=t("networks.chart.alt"))
    points = clicked["selection"]["points"]
    if points and points[0].get("customdata"):
        _choose(points[0]["customdata"][0], "scatter")


def _choose(name: str, by: str) -> None:
    """A click counts once: the other list may be clicked afterwards."""
    if st.session_state.get(f"{PAGE}.by.{by}") != name:
        st.session_state.update({f"{PAGE}.by.{by}": name, f"{PAGE}.network": name})


def _table(cards: list[ModelCard], eps: float, data: str) -> None:
    shares = {"fgsm": "FGSM", "pgd": "PGD-20", "strong": t("networks.strong")}
    rows = [{t("curves.model"): network_title(card), t("networks.parameters"): card.parameters,
             t("train.clean"): card.measured["accuracy"]["accuracy"],
             **{title: (_line(card, name, eps) or {}).get("accuracy") for name, title in shares.items()}} for card in cards]
    percent = {title: st.column_config.NumberColumn(title, format="percent", width=68)
               for title in (t("train.clean"), *shares.values())}
    picked = st.dataframe(rows, hide_index=True, on_select="rerun", selection_mode="single-row", key=f"{PAGE}.table.{data}",
                          column_config={
                              **percent, t("curves.model"): st.column_config.TextColumn(width=220),
                              t("networks.parameters"): st.column_config.NumberColumn(format="localized", width=84)})
    if picked["selection"]["rows"]:
        _choose(cards[picked["selection"]["rows"][0]].name, "table")


def _card(card: ModelCard) -> None:
    """Everything measured about one network, and how it came about."""
    facts, recipe = card.measured, card.measured["recipe"]
    st.subheader(network_title(card), anchor=False)
    held = facts["data"]["held_out"]
    st.caption(t("networks.facts.held" if held else "networks.facts", parameters=count(card.parameters), held=count(held),
                 images=count(facts["data"]["trained_on"]), epochs=recipe["epochs"], minutes=number(facts["seconds"] / 60, 1),
                 machine=facts["machine"]))
    clean, sizes = facts["accuracy"], sorted({line["eps"] for line in facts.get("robust", [])})
    attacks = list(ATTACKED) if sizes else []
    cells = [[_share(_line(card, attack, eps)) for eps in sizes] for attack in attacks]
    st.html(tiles.numbers([t("networks.clean"), *[f"ε = {_epsilon(eps, card.dataset)}" for eps in sizes]],
                          _share(clean), [_short(attack) for attack in attacks], cells))
    st.caption(t("networks.interval", n=count(clean["n"]), strong=_line(card, "strong", sizes[-1])["n"]) if sizes else
               t("networks.unmeasured"))
    last = facts["watched"][-1] if facts.get("watched") else None
    if last and last["pgd"] < last["fgsm"] / 2:
        st.warning(t("networks.overfit", fgsm=number(100 * last["fgsm"], 0), pgd=number(100 * last["pgd"], 0)),
                   icon=":material/warning:")
    if card.note:
        st.caption(t(f"networks.note.{card.note}"))
    notes = "  \n".join(f"`{name}` {value}" for name, value in recipe.items() if _says_something(name, value, recipe))
    with st.expander(t("networks.recipe"), icon=":material/receipt_long:"):
        st.markdown(notes)
        if facts.get("watched"):
            st.caption(t("networks.watched"))
            titles = {"epoch": t("networks.epoch"), "clean": t("train.clean"), "fgsm": "FGSM", "pgd": "PGD-10"}
            st.dataframe([{title: line.get(key) for key, title in titles.items()} for line in facts["watched"]],
                         hide_index=True, column_config={title: st.column_config.NumberColumn(format="percent")
                                                         for key, title in titles.items() if key != "epoch"})
        st.caption(f"SHA-256 {facts['sha256'][:16]}… · {t('networks.licence')} · [{t('networks.paper')}]({card.paper})")
    left, right = st.columns(2)
    with left:
        st.download_button(t("networks.weights"), card.weights.read_bytes(), card.weights.name, width="stretch",
                           icon=":material/download:", key=f"{PAGE}.get.{card.name}")
    with right:
        st.download_button(t("networks.card"), json.dumps(facts, indent=1), f"{card.name}.json", "application/json",
                           icon=":material/download:", width="stretch", key=f"{PAGE}.card.{card.name}")


def _says_something(name: str, value, recipe: dict) -> bool:
    """Whether a setting is more than a default: the seed always, and the attack of adversarial training."""
    attacked = recipe["method"] == "adversarial" and name in ("steps", "step_size", "random_start", "alpha")
    return name == "seed" or attacked or value != DEFAULTS.get(name)


def _share(line: dict) -> tuple[float, str, str]:
    """The share itself, as words, and its interval."""
    return (line["accuracy"], f"{number(100 * line['accuracy'], 1)} %",
            f"{number(100 * line['low'], 1)} – {number(100 * line['high'], 1)}")
