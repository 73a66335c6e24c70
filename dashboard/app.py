"""Entry point: `streamlit run dashboard/app.py`. Path, page configuration and navigation; no logic."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # streamlit puts only dashboard/ on the path

import streamlit as st  # noqa: E402

ICON = Path(__file__).with_name("icon.png")  # a material icon would be fetched from the network
st.set_page_config(page_title="Epsilon Lab", page_icon=ICON, layout="wide", initial_sidebar_state=320)

from dashboard import shell  # noqa: E402
from dashboard.views import (  # noqa: E402
    blackbox, compare, curves, data, defenses, evidence, explore, frequency, minimal, networks, saliency, targets, train)

shell.run({
    "": [explore],
    "nav.attacks": [compare, targets, blackbox],
    "nav.accuracy": [curves, minimal, evidence],
    "nav.labs": [frequency, saliency, defenses],
    "nav.networks": [networks, train, data],
})
