"""What two sections ask alike: how strong the gratings are."""
import streamlit as st

from dashboard.i18n import number, t

AMPLITUDES = (0.02, 0.05, 0.1, 0.2, 0.5)
FIRST = 0.05  # 13/255: about what perturbations are, and JPEG still has something to erase


def amplitude_menu(page: str, disabled: bool = False) -> float:
    """An amplitude, pixels in [0, 1]."""
    st.session_state.setdefault(f"{page}.amplitude", FIRST)
    return st.selectbox(t("frequency.amplitude"), AMPLITUDES, key=f"{page}.amplitude", persist_state="session",
                        format_func=lambda a: f"{number(a, 2)} ({number(255 * a, 0)}/255)", disabled=disabled,
                        help=t("frequency.amplitude.help"))
