"""Numbers to read and to download."""
import csv
import io

import streamlit as st

from dashboard.i18n import t


def table(rows: list[dict], file_name: str) -> None:
    """Rows with the same keys, behind a heading, and as a CSV file."""
    with st.expander(t("curves.table"), icon=":material/table:"):
        st.dataframe(rows, hide_index=True)
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    st.download_button(t("curves.csv"), file.getvalue(), file_name, "text/csv", icon=":material/download:")
