"""Numbers to read and to download."""
import csv
import io
import math
from collections.abc import Iterable, Sequence

import streamlit as st

from dashboard.i18n import t


def as_csv(head: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Rows under their heading; what is not a number stays empty."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return file.getvalue()


def _cell(value):
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def table(rows: list[dict], file_name: str) -> None:
    """Rows with the same keys, behind a heading, and as a CSV file."""
    with st.expander(t("curves.table"), icon=":material/table:"):
        st.dataframe(rows, hide_index=True)
    st.download_button(t("curves.csv"), as_csv(list(rows[0]), (row.values() for row in rows)), file_name, "text/csv",
                       icon=":material/download:")
