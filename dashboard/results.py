"""The curves shipped in assets/results: what `python -m core.evaluate --json` printed, one file each."""
import json

import streamlit as st

from core.data import ROOT
from core.evaluation import Point

RESULTS = ROOT / "assets" / "results"


@st.cache_data
def shipped() -> list[dict]:
    """Every shipped evaluation, its points as Point."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    return [{**each, "points": [Point(**point) for point in each["points"]]} for each in found]
