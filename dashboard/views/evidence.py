"""Figures of the reports R2 and R3 with the lab's networks: what is seen, and where it agrees with them or does not."""
import json

import streamlit as st

from dashboard import evidence, results
from dashboard.i18n import t

PAGE = "evidence"
PER_ROW = {"qualities": 2, "saliency": 1}  # charts side by side; else all of a figure's


def render() -> None:
    """One section for each figure that is shipped."""
    st.title(t("evidence.title"))
    st.caption(t("evidence.how"))
    shipped = results.evidence()
    if not shipped:
        st.info(t("evidence.none"), icon=":material/fact_check:")
    for name, found in shipped.items():
        shown, numbers = evidence.DRAWN[name](found)
        st.subheader(t(f"evidence.{name}"), anchor=name)
        left, right = st.columns(2)
        report = "R3" if name == "hardening" else "R2"
        left.markdown(f"**{t('evidence.claim', report=report)}** {t(f'evidence.{name}.claim')}")
        right.markdown(f"**{t('evidence.seen')}** {t(f'evidence.{name}.seen', **numbers)}")
        _figures(name, shown)
        st.caption(t("evidence.made", command=f"`{found['command']}`", n=t(f"evidence.{name}.n")))
        st.download_button(t("evidence.download"), json.dumps(found), f"epsilon-lab-evidence-{name}.json",
                           "application/json", icon=":material/download:", key=f"{PAGE}.{name}")


def _figures(name: str, shown: list) -> None:
    """Charts in rows, HTML over the whole width."""
    charts = [each for each in shown if not isinstance(each, str)]
    for each in shown:
        if isinstance(each, str):
            st.html(each)
    per_row = PER_ROW.get(name, len(charts))
    for k, figure in enumerate(charts):
        if k % per_row == 0:
            columns = st.columns(per_row)
        columns[k % per_row].plotly_chart(figure, config={"displayModeBar": False}, key=f"{PAGE}.{name}.{k}",
                                               alt=t("evidence.alt"))
