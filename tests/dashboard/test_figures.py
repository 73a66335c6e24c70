"""What all charts have in common."""
import pytest

from dashboard import figures
from dashboard.i18n import LANGUAGES, catalogue


@pytest.mark.parametrize("title, lines", [("Short", 1), ("", 1), ("word " * 15, 2), ("word " * 20, 3)])
def test_long_titles_are_broken_and_have_their_room(title, lines):
    figure = figures.levels([], [], title, "x", "y")
    assert figure.layout.title.text.count("<br>") == lines - 1
    assert all(len(line) <= figures.LETTERS for line in figure.layout.title.text.split("<br>"))
    assert figure.layout.margin.t == 26 + 22 * lines


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_without_values_fit_in_one_line(language):
    for key, text in catalogue(language).items():
        if key.endswith(".chart") and "{" not in text:
            assert len(text) <= figures.LETTERS, (language, key)
