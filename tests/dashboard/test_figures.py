"""What all charts have in common."""
import pytest

from dashboard import figures, scatter
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


def _labels(*dots):
    """Texts and positions of the labels of dots, each (clean, robust, label)."""
    def share(value):
        return {"accuracy": value, "low": value, "high": value, "n": 9}
    figure = scatter.clean_against_robust(
        [scatter.Dot(str(k), label, label, "plain", share(clean), share(robust)) for k, (clean, robust, label) in enumerate(dots)],
        {name: name for name in scatter.METHODS}, "title", "x", "y")
    return dict(zip(figure.data[0].text, figure.data[0].textposition))


def test_labels_of_a_scatter_keep_off_dots_and_off_each_other():
    assert _labels((0.6, 0.4, "a"), (0.9, 0.4, "b")) == {"a": "middle right", "b": "middle right"}
    assert _labels((0.5, 0.4, "a"), (0.9, 0.4, "ResNet-20")) == {"a": "middle right", "ResNet-20": "middle left"}  # at the edge
    near = _labels((0.5, 0.4, "a"), (0.75, 0.4, "LeNet"), (0.76, 0.4, "VGG"), (0.9, 0.1, ""))
    assert near["LeNet"] == "middle left" and near["VGG"] == "middle right"
    crowd = _labels(*[(0.7, 0.5, f"network {k}") for k in range(20)], (0.5, 0.5, "x"), (0.9, 0.5, "y"))
    crowd.pop("")
    places = [place for name, place in crowd.items() if name.startswith("network")]
    assert 2 <= len(places) == len(set(places)) <= 8


def test_only_robust_networks_are_labelled_and_none_beyond_the_chart():
    assert _labels((0.5, 0.1, "weak"), (0.9, 0.6, "strong")) == {"": "top center", "strong": "middle left"}
    assert list(_labels((0.5, 0.5, "name " * 20), (0.9, 0.5, "b"))) == ["", "b"]
