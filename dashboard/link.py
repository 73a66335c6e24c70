"""Choices in the URL: a copied link restores them. Widgets hold canonical names, so links know no language."""
import streamlit as st

from core.settings import Setting
from dashboard.i18n import t


def restore(page: str, readers: dict) -> None:
    """On a session's first visit to `page`, put the link's values into the widgets' state.

    `readers` maps a parameter to (state key, function from its text to a value; ValueError or KeyError
    when it is nonsense). What is nonsense is left at its default, and said once.
    """
    if st.session_state.get(f"{page}.restored"):
        return
    st.session_state[f"{page}.restored"] = True
    ignored = []
    for parameter, (key, read) in readers.items():
        if parameter in st.query_params:
            try:
                st.session_state[key] = read(st.query_params[parameter])
            except (ValueError, KeyError, OverflowError):
                ignored.append(parameter)
    if ignored:
        st.toast(t("link.ignored", names=", ".join(ignored)), icon=":material/link_off:", duration="long")


def write(values: dict) -> None:
    """Make the URL say `values` (None leaves a parameter out), and the language when it was chosen."""
    wanted = {name: str(value) for name, value in values.items() if value is not None}
    if st.session_state.get("lang.chosen"):
        wanted["lang"] = st.session_state["lang"]
    if wanted != st.query_params.to_dict():
        st.query_params.from_dict(wanted)


def one_of(options):
    """A reader that accepts a name among `options`."""
    def read(text):
        if text not in options:
            raise ValueError(text)
        return text
    return read


def several(options):
    """A reader of names among `options`, separated by commas."""
    def read(text):
        return [one_of(options)(name) for name in text.split(",")]
    return read


def setting(each: Setting):
    """A reader of the values that a setting takes."""
    if each.choices:
        return one_of(each.choices)
    return {"yes": True, "no": False}.__getitem__ if each.kind is bool else between(each.kind, each.low, each.high)


def between(kind, low, high):
    """A reader that accepts a number from `low` to `high`."""
    def read(text):
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value
    return read
