"""What surrounds every page: navigation, language, and where the computing happens."""
from types import ModuleType

import streamlit as st

from core.device import device_name
from core.errors import UserError
from dashboard import cache
from dashboard.i18n import LANGUAGES, explain, language, t


def run(views: list[ModuleType]) -> None:
    """Navigate between `views` (the first is the start page) and render the chosen one."""
    language()
    pages = [st.Page(view.render, title=t(view.TITLE), icon=view.ICON, url_path=view.URL, default=view is views[0])
             for view in views]
    page = st.navigation(pages, position="top")
    try:
        page.run()
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
    with st.sidebar:
        _foot()


def _foot() -> None:
    left, right = st.columns([1, 1], vertical_alignment="center")
    left.selectbox(t("control.language"), list(LANGUAGES), format_func=LANGUAGES.get, key="lang",
                   label_visibility="collapsed", persist_state="session",
                   on_change=lambda: st.session_state.update({"lang.chosen": True}))
    right.caption(t("control.device", device=device_name(cache.device())))
