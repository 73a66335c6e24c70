"""What surrounds every page: navigation, language, and where the computing happens."""
from types import ModuleType

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
@media (max-width: 640px) { .stMainBlockContainer { padding: 4rem 1rem 1rem; } }
</style>"""


def run(sections: dict[str, list[ModuleType]]) -> None:
    """Navigate between the views of all sections and render the chosen one. A section is named by its key in the
    catalogues; that of "" stands by itself, and its first view is the start page."""
    language()
    st.html(STYLE)
    start = sections[""][0]
    pages = {t(name) if name else "": [st.Page(view.render, title=t(view.TITLE), icon=view.ICON, url_path=view.URL,
                                               default=view is start) for view in views]
             for name, views in sections.items()}
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
