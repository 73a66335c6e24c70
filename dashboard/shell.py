"""What surrounds every page: navigation, language, and where the computing happens."""
import importlib
from collections.abc import Callable

import streamlit as st

from core.device import device_name
from core.errors import UserError
from dashboard import cache
from dashboard.i18n import LANGUAGES, explain, language, t

# Streamlit leaves 6 rem above a page and gaps meant for prose; the panel needs a projector's 900 px. It also fades what
# a new run has not reached yet, which would dim the first answer while the whole path is computed.
STYLE = """<style>
.stMainBlockContainer { padding: 4.2rem 2.2rem 1.5rem; max-width: 1500px; }
.stSidebar [data-testid="stSidebarContent"] [data-testid="stVerticalBlock"] { gap: 0.55rem; }
.stSidebar [data-testid="stSidebarHeader"] { height: 2.6rem; margin-bottom: 0; }
.stSidebar [data-testid="stWidgetLabel"] { min-height: 1.2rem; margin-bottom: 0; }
.stMain [data-stale="true"] { opacity: 1 !important; transition: none !important; }
.st-key-headline { min-height: 5rem; }
.st-key-progress { min-height: 66px; }
@media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem 1rem; } }
</style>"""


def run(sections: dict[str, dict[str, str]]) -> None:
    """Navigate between the views of all sections and render the chosen one.

    A section is named by its key in the catalogues; that of "" stands by itself, and its first view is the start page.
    A view is a module of dashboard/views with `render()`, given here with its icon; its name is its address.
    """
    language()
    st.html(STYLE)
    start = next(iter(sections[""]))
    pages = {t(section) if section else "": [st.Page(_rendering(view), title=t(f"page.{view}"), icon=icon, url_path=view,
                                                     default=view == start) for view, icon in views.items()]
             for section, views in sections.items()}
    page = st.navigation(pages, position="top")
    if st.session_state.get("train.job"):
        st.session_state["train.job"].look()  # on another page its user is still there
    try:
        page.run()
    except UserError as error:
        st.error(explain(error), icon=":material/error:")
    with st.sidebar:
        _foot()


def _rendering(view: str) -> Callable[[], None]:
    """Its `render`, imported when it is called: the first page of a new server need not wait for the others' imports."""
    def render() -> None:
        importlib.import_module(f"dashboard.views.{view}").render()
    return render


def _foot() -> None:
    left, right = st.columns([1, 1], vertical_alignment="center")
    left.selectbox(t("control.language"), list(LANGUAGES), format_func=LANGUAGES.get, key="lang",
                   label_visibility="collapsed", persist_state="session",
                   on_change=lambda: st.session_state.update({"lang.chosen": True}))
    right.caption(t("control.device", device=device_name(cache.device())))
