"""The evidence page: every shipped figure is drawn, and its statement's numbers are the file's."""
import pytest

from core.evidence import FIGURES
from dashboard import evidence, results
from dashboard.i18n import LANGUAGES, catalogue
from driver import opened, words


def test_every_figure_can_be_drawn_and_has_its_place():
    assert set(evidence.DRAWN) == set(results.EVIDENCE) == set(FIGURES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_shipped_figure_has_its_statement(language):
    for name, found in results.evidence().items():
        numbers = evidence.DRAWN[name](found)[1]
        text = catalogue(language)[f"evidence.{name}.seen"].format(**numbers)
        assert "{" not in text and any(value in text for value in numbers.values()), name
        for part in ("", ".claim", ".n"):
            assert catalogue(language)[f"evidence.{name}{part}"]


def test_the_page_shows_them_all():
    app = opened("evidence")
    assert [each.value for each in app.subheader] == [words(f"evidence.{name}") for name in results.evidence()]
    assert len(app.get("plotly_chart")) >= len(results.evidence())


def test_without_figures_the_page_says_what_to_do(monkeypatch, tmp_path):
    results.evidence.clear()
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    try:
        assert opened("evidence").info[0].value == words("evidence.none")
    finally:
        results.evidence.clear()
