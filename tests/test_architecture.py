"""The rules that keep the rooms apart and let threads share a model, read from the syntax tree."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
         for folder in ("core", "dashboard") for path in sorted((ROOT / folder).rglob("*.py"))}
each_file = pytest.mark.parametrize("file", FILES)
CORE = [file for file in FILES if file.startswith("core/")]
ROOMS = ("attacks", "defenses", "models")
# Below the rooms, and so open to each of them. Everything else of core stands above them.
SHARED = {"data", "device", "errors", "images", "norms", "settings", "statistics", "vision"}


def imported(file):
    """Every module a file imports, wherever in it, as dotted names; `from a import b` gives a and a.b."""
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(file.removesuffix(".py").split("/")[:-node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def called(file):
    """Every attribute that is called: `loss.backward()` gives 'backward', with its line."""
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield ast.unparse(node.func), node.lineno


@pytest.mark.parametrize("file", CORE)
def test_core_knows_nothing_of_the_dashboard(file):
    assert not {name.split(".")[0] for name in imported(file)} & {"streamlit", "plotly", "dashboard", "tests"}


@pytest.mark.parametrize("file", [file for file in CORE if file.split("/")[1] in ROOMS])
def test_attacks_defenses_and_models_stand_side_by_side(file):
    allowed = SHARED | {file.split("/")[1]}
    used = {name.split(".")[1] for name in imported(file) if name.startswith("core.")}
    assert used <= allowed, f"{file} imports core.{', core.'.join(sorted(used - allowed))}"


@pytest.mark.parametrize("file", [file for file in CORE if file.removesuffix(".py").split("/")[1] in SHARED])
def test_the_shared_modules_stand_below_the_rooms(file):
    # core.downloads is core.data's shell, reached from its __main__ alone.
    used = {name.split(".")[1] for name in imported(file) if name.startswith("core.")}
    assert used <= SHARED | {"downloads"}, f"{file} imports core.{', core.'.join(sorted(used - SHARED))}"


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("dashboard/views/")])
def test_views_never_import_views(file):
    assert not [name for name in imported(file) if "views" in name.split(".")]


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("dashboard/")])
def test_a_page_is_imported_when_it_is_opened(file):
    # The first page of a new server would wait for the imports of all the others.
    assert not [name for name in imported(file) if name.startswith("dashboard.views")]


@each_file
def test_torchvision_is_imported_in_one_place(file):
    uses = {name.split(".")[0] for name in imported(file)} & {"torchvision"}
    assert not uses or file == "core/vision.py"


@pytest.mark.parametrize("file", [file for file in CORE if not file.startswith("core/training/")])
def test_gradients_and_seeds_are_nobodys_business_but_the_callers(file):
    """A backward pass would write .grad on a model that threads share; manual_seed would reseed all of them."""
    for name, line in called(file):
        assert not name.endswith(".backward"), f"{file}:{line}"
        # A generator of one's own may be seeded.
        assert name not in ("torch.manual_seed", "torch.random.manual_seed", "torch.seed", "np.random.seed",
                            "numpy.random.seed", "random.seed", "torch.cuda.manual_seed_all"), f"{file}:{line}"


@each_file
def test_no_file_is_named_for_odds_and_ends(file):
    assert Path(file).stem not in ("utils", "util", "helpers", "misc", "common")


def test_the_rules_have_something_to_read():
    assert len(CORE) > 20 and "core/vision.py" in CORE
    assert "core.norms" in set(imported("core/attacks/base.py"))
    assert any(name.endswith("autograd.grad") for name, _ in called("core/attacks/base.py"))
