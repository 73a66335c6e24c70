"""Entry point: `streamlit run dashboard/app.py`. Path, page configuration and navigation; no logic."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # streamlit puts only dashboard/ on the path

import streamlit as st  # noqa: E402

ICON = Path(__file__).with_name("icon.png")  # a material icon would be fetched from the network
st.set_page_config(page_title="Epsilon Lab", page_icon=ICON, layout="wide", initial_sidebar_state=320)

from dashboard import shell  # noqa: E402

shell.run({
    "": {"explore": ":material/search:"},
    "nav.attacks": {"compare": ":material/compare:", "targets": ":material/target:",
                    "blackbox": ":material/visibility_off:"},
    "nav.accuracy": {"curves": ":material/show_chart:", "minimal": ":material/align_horizontal_left:",
                     "evidence": ":material/fact_check:"},
    "nav.labs": {"frequency": ":material/graphic_eq:", "saliency": ":material/center_focus_strong:",
                 "defenses": ":material/shield:"},
    "nav.networks": {"networks": ":material/hub:", "train": ":material/model_training:", "data": ":material/database:"},
})
