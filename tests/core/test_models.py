"""Every network of MODELS: its card against the facts, its shipped weights re-measured; and other people's checkpoints,
which must load when they fit and end in one clear sentence, never in code that runs, when they do not."""
import copy
import hashlib
import io
import json
import math
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from core.data import SAMPLES, load as load_data
from core.errors import UserError
from core.models import loading
from core.models.cards import ARCHITECTURES, MODELS
from core.statistics import wilson

BARS = {  # clean test accuracy
    "tutorial-cnn": 0.981, "lenet5": 0.990, **{f"lenet5-{k}": 0.985 for k in (2, 4, 6, 10, 20)},
    **{f"lenet5-e{k}": 0.98 for k in (5, 10, 50, 100, 200)}, "lenet5-fgsm": 0.95, "lenet5-pgd": 0.97, "cnn-pgd": 0.97,
    "lenet5-ensemble": 0.992, "resnet20-mnist": 0.990, "googlenet": 0.990, "softmax": 0.92, "softmax-l1": 0.85,
    "softmax-fgsm-25": 0.80, "softmax-fgsm-30": 0.80, "logistic37": 0.97, "logistic37-worst": 0.90, "maxout": 0.987,
    "maxout-adversarial": 0.987, "maxout-augmented": 0.98, "rbf": 0.95, "lenet5-cifar": 0.60, "convnet3": 0.75,
    "convnet3-fgsm": 0.4321, "convnet3-pgd": 0.5863, "convnet6-bn": 0.86, "resnet20": 0.915,
    "resnet14": 0.90, "resnet14-fgsm": 0.75}
ROBUST_BARS = {  # (attack, eps) -> accuracy
    "lenet5-pgd": {("pgd", 0.3): 0.85}, "maxout-adversarial": {("fgsm", 0.25): 0.81},
    "convnet3-fgsm": {("fgsm", 8 / 255): 0.3618}, "convnet3-pgd": {("fgsm", 8 / 255): 0.3823},
    "resnet14-fgsm": {("pgd", 8 / 255): 0.42}}
MISSED = {  # bars that what is shipped does not meet, with what it reaches
    "maxout-adversarial": "98.53 %: its clean error is not below plain maxout's, which is 1.22 %",
    "resnet14": "88.28 % after 10 epochs; it is but the start of resnet14-fgsm"}
OVERFIT = {"maxout-adversarial": "the paper's loss, one step without random start: 88.8 % under FGSM, 6.8 % under PGD-20"}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
each_model = pytest.mark.parametrize("name", MODELS)
each_architecture = pytest.mark.parametrize("name", ARCHITECTURES.values())
some_models = pytest.mark.parametrize("name", ["tutorial-cnn", "lenet5", "convnet3", "resnet20"])
each_format = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.fixture
def trained(name):
    """The card of a network whose weights are here."""
    card = MODELS[name]
    if not card.weights.is_file():
        pytest.skip(f"{name} has not been trained yet: assets/weights/{card.weights.name} is missing")
    return card


def built(name, seed=0):
    """A network with seeded random weights (batch norm's statistics included)."""
    network = MODELS[name].build()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if key.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return network.eval()


def images(name, n=2):
    return torch.rand(n, *MODELS[name].shape, generator=torch.Generator().manual_seed(1))


def expected_logits(name, network, x):
    card = MODELS[name]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (card.mean, card.std))
    with torch.no_grad():
        return network((x - mean) / std)


def correct(model, dataset, limit=None):
    count, n = 0, limit or len(dataset)
    for start in range(0, n, 500):
        x, y = dataset.batch(slice(start, min(start + 500, n)))
        with torch.no_grad():
            count += int((model(x).argmax(dim=1) == y).sum())
    return count


# Cards and shipped weights

@each_model
def test_the_card_describes_the_network(name):
    card = MODELS[name]
    assert card.name == name and card.title
    network = card.build()
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    assert len(card.mean) == len(card.std) == card.shape[0] and min(card.std) > 0
    assert card.paper.startswith("http")
    network.eval()
    assert network(torch.zeros(3, *card.shape)).shape == (3, 10)
    assert load_data(card.dataset, "sample", SAMPLES).shape == card.shape


def test_titles_are_unique():
    assert len({card.title for card in MODELS.values()}) == len(MODELS)


@each_architecture
def test_logits_come_out_not_probabilities(name):
    logits = built(name)(images(name))
    assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(2)), "log-softmax"
    assert not torch.allclose(logits.sum(dim=1), torch.ones(2)), "softmax"


@each_model
def test_a_loaded_network_is_frozen_and_in_eval_mode(name, trained):
    model = loading.load(name)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    x = images(name)
    assert model(x).shape == (2, 10) and torch.equal(model(x), model(x)), "no dropout left"


@each_model
def test_normalisation_sits_inside(name, trained):
    """The raw network on images normalised by hand gives the same logits."""
    network = MODELS[name].build().eval()
    network.load_state_dict(safetensors.torch.load_file(trained.weights))
    x = images(name)
    assert torch.allclose(loading.load(name)(x), expected_logits(name, network, x), atol=1e-4)


@each_model
def test_the_file_is_the_one_on_its_card(name, trained):
    assert hashlib.sha256(trained.weights.read_bytes()).hexdigest() == trained.measured["sha256"]
    assert trained.weights.stat().st_size < 4 * trained.parameters * 1.1 + 20_000


@each_model
def test_the_measured_part_of_the_card_is_complete(name, trained):
    measured = json.loads(trained.weights.with_suffix(".json").read_text("utf-8"))
    assert measured == trained.measured
    assert (measured["name"], measured["title"], measured["parameters"]) == (name, trained.title, trained.parameters)
    assert measured["paper"] == trained.paper and measured["licence"]
    assert measured["recipe"]["epochs"] > 0 and isinstance(measured["recipe"]["seed"], int)
    assert measured["seconds"] > 0 and measured["machine"] and measured["trained"] and measured["precision"]
    data = measured["data"]
    assert data["name"] == trained.dataset
    # The copy of CIFAR-10 that the shipped cards were measured on lacks 73 training and 20 test images.
    whole = {"mnist": [(12_396, 2_038) if trained.labels else (60_000, 10_000)], "cifar10": [(49_927, 9_980), (50_000, 10_000)]}[trained.dataset]
    assert (data["trained_on"] + data["held_out"], measured["accuracy"]["n"]) in whole
    assert measured["accuracy"]["split"] == "test"
    assert {line["attack"] for line in measured["robust"]} == {"fgsm", "pgd", "strong"}
    for score in (measured["accuracy"], measured["sample_accuracy"], *measured["robust"]):
        assert score["accuracy"] == score["correct"] / score["n"]
        assert (score["low"], score["high"]) == pytest.approx(wilson(score["correct"], score["n"]))


@each_model
def test_the_recipe_on_the_card_is_the_one_in_the_code(name, trained):
    from dataclasses import asdict

    from core.training.recipes import RECIPES

    assert trained.measured["recipe"] == asdict(RECIPES[name])


@each_model
def test_the_card_meets_its_bar(name, trained, request):
    if name in MISSED:
        request.node.add_marker(pytest.mark.xfail(strict=True, reason=MISSED[name]))
    assert trained.measured["accuracy"]["accuracy"] >= BARS[name]
    robust = {(line["attack"], line["eps"]): line["accuracy"] for line in trained.measured["robust"]}
    for place, least in ROBUST_BARS.get(name, {}).items():
        assert robust[place] >= least


@each_model
def test_training_against_attacks_did_not_overfit_catastrophically(name, trained, request):
    """PGD leaves at least half of what FGSM leaves (Wong et al. 2020), at the radius of the training where that is
    measured, else at the largest one below."""
    recipe = trained.measured["recipe"]
    if recipe["method"] not in ("adversarial", "noisy"):
        pytest.skip("its training attacks nothing")
    if name in OVERFIT:
        request.node.add_marker(pytest.mark.xfail(strict=True, reason=OVERFIT[name]))
    radius = max(line["eps"] for line in trained.measured["robust"] if line["eps"] <= recipe["eps"])
    at = {line["attack"]: line["accuracy"] for line in trained.measured["robust"] if line["eps"] == radius}
    last = trained.measured["watched"][-1]
    assert last["epoch"] == recipe["epochs"]
    assert at["pgd"] > at["fgsm"] / 2 and last["pgd"] > last["fgsm"] / 2


@each_model
def test_the_sample_accuracy_is_measured_again(name, trained):
    """Exactly, save for images on which two classes tie to the last digit and machines may differ."""
    sample, score = load_data(trained.dataset, "sample", SAMPLES).only(trained.labels), trained.measured["sample_accuracy"]
    assert score["n"] == len(sample)
    model = loading.load(name)
    assert abs(correct(model, sample) - score["correct"]) <= close_calls(model, sample)


def close_calls(model, dataset, gap=1e-3):
    """How many images have their two highest logits within `gap` of each other."""
    count = 0
    for start in range(0, len(dataset), 500):
        with torch.no_grad():
            top = model(dataset.batch(slice(start, start + 500))[0]).topk(2).values
        count += int((top[:, 0] - top[:, 1] < gap).sum())
    return count


@each_model
def test_the_test_accuracy_is_measured_again(name, trained, data_dir):
    """MNIST in full; of CIFAR-10 the first 1000 images, which vary around the card's share like a sample of it."""
    dataset, score = load_data(trained.dataset, "test", data_dir).only(trained.labels), trained.measured["accuracy"]
    limit = None if trained.dataset == "mnist" else 1000
    count, n = correct(loading.load(name), dataset, limit), limit or len(dataset)
    if limit is None:
        assert score["low"] <= count / n <= score["high"] and abs(count - score["correct"]) <= 2
    else:
        deviation = (n * score["accuracy"] * (1 - score["accuracy"])) ** 0.5
        assert abs(count - n * score["accuracy"]) <= 5 * deviation, "a chance below one in a million"


def test_unknown_and_missing_models_are_named(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="nonesuch.*tutorial-cnn"):
        loading.load("nonesuch")
    monkeypatch.setattr("core.models.cards.WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="lenet5"):
        loading.load("lenet5")


# Checkpoints that fit

def torch_bytes(content, zipped=True):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def refused(content, key, name="tutorial-cnn", **settings):
    """The UserError that loading ends in."""
    with pytest.raises(UserError) as caught:
        loading.load(name, checkpoint=content, **settings)
    assert caught.value.key == f"checkpoint.{key}", str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_loads(name, content, network, tolerance=1e-4, **settings):
    x = images(name)
    model = loading.load(name, checkpoint=content, **settings)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert torch.allclose(model(x), expected_logits(name, network, x), atol=tolerance, rtol=tolerance)


@each_architecture
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_or_its_bytes_load(name, suffix, tmp_path):
    network, path = built(name), tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        safetensors.torch.save_file(network.state_dict(), path)
    for checkpoint in (path, str(path), path.read_bytes()):
        assert_loads(name, checkpoint, network)


@some_models
@each_format
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model", "net"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_ways_in_which_people_wrap_a_state_dict(name, zipped, wrapper, prefix):
    network = built(name)
    content = {prefix + key: value for key, value in network.state_dict().items()}
    if wrapper:
        content = {wrapper: content, "epoch": 3, "best_prec1": 91.7}
    assert_loads(name, torch_bytes(content, zipped), network)


def test_a_public_resnet20_file_brings_its_own_normalisation():
    """Their layout: {'state_dict': {'module.conv1.weight': ...}, 'best_prec1': ...}, trained with ImageNet's."""
    network, x = built("resnet20"), images("resnet20")
    content = torch_bytes({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()},
                           "best_prec1": 91.7})
    mean, std = (torch.tensor(IMAGENET[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = network((x - mean) / std)
    assert torch.allclose(loading.load("resnet20", checkpoint=content, **IMAGENET)(x), expected, atol=1e-4)
    assert not torch.allclose(loading.load("resnet20", checkpoint=content)(x), expected, atol=1e-4)


def test_files_from_before_num_batches_tracked_load():
    network = built("resnet20")
    content = {key: value for key, value in network.state_dict().items() if "num_batches_tracked" not in key}
    assert len(content) < len(network.state_dict())
    assert_loads("resnet20", torch_bytes(content), network)


@some_models
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_load_as_float32(name, dtype):
    network = built(name)
    content = {key: value.to(dtype) if value.is_floating_point() else value
               for key, value in network.state_dict().items()}
    rounded = copy.deepcopy(network)
    rounded.load_state_dict(content)
    assert_loads(name, torch_bytes(content), rounded)
    model = loading.load(name, checkpoint=safetensors.torch.save(content))
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_tutorials_own_checkpoint_loads():
    path = os.environ.get("EPSILON_LAB_TUTORIAL_CHECKPOINT")
    if not path:
        pytest.skip("EPSILON_LAB_TUTORIAL_CHECKPOINT is not set: it names the PyTorch tutorial's lenet_mnist_model.pth")
    with open(path, "rb") as file:
        assert not zipfile.is_zipfile(file), "it is one of the files in the format from before zip"
    sample = load_data("mnist", "sample", SAMPLES)
    assert correct(loading.load("tutorial-cnn", checkpoint=path), sample) > 0.97 * len(sample)


# Checkpoints that do not

@pytest.fixture
def state():
    return built("tutorial-cnn").state_dict()


def as_file(content, form):
    return safetensors.torch.save(content) if form == "safetensors" else torch_bytes(content, form == "zip")


each_form = pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])


@each_form
def test_the_first_missing_key_is_named(state, form):
    del state["conv2.bias"], state["fc2.weight"]
    message = refused(as_file(state, form), "lacks")
    assert "conv2.bias" in message and "Tutorial CNN" in message and "fc2" not in message


@each_form
def test_the_first_wrong_shape_is_named(state, form):
    state["fc1.weight"] = state["fc1.weight"].T.contiguous()
    message = refused(as_file(state, form), "shape")
    assert "fc1.weight" in message and "(320, 50)" in message and "(50, 320)" in message


@each_form
def test_a_surplus_key_is_named(state, form):
    state["fc3.weight"] = torch.zeros(2, 2)
    assert "fc3.weight" in refused(as_file(state, form), "surplus")


@pytest.mark.parametrize("other", [name for name in ARCHITECTURES.values() if name != "tutorial-cnn"])
def test_another_networks_checkpoint_is_refused(other):
    with pytest.raises(UserError, match="does not fit Tutorial CNN"):
        loading.load("tutorial-cnn", checkpoint=torch_bytes(built(other).state_dict()))


@each_form
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_refused(state, form, bad):
    state["fc1.weight"][3, 7] = bad
    assert "fc1.weight" in refused(as_file(state, form), "not_finite")


def test_weights_too_large_for_float32_are_refused(state):
    """1e300 is finite in float64 and infinite once it is in the network."""
    state["fc2.bias"] = torch.full((10,), 1e300, dtype=torch.float64)
    assert "fc2.bias" in refused(torch_bytes(state), "not_finite")


@each_format
@pytest.mark.parametrize("strange", ["sparse", "meta", "complex", "quantised"])
@pytest.mark.filterwarnings("ignore")  # torch warns of quantised tensors' end
def test_tensors_that_are_no_plain_arrays_are_refused(state, zipped, strange):
    bias = state["fc2.bias"]
    state["fc2.bias"] = {"sparse": bias.to_sparse, "meta": lambda: bias.to("meta"),
                         "complex": lambda: bias.to(torch.complex64),
                         "quantised": lambda: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8)}[strange]()
    content = torch_bytes(state, zipped)
    with pytest.raises(UserError):
        loading.load("tutorial-cnn", checkpoint=content)


@each_form
def test_truncated_files_are_refused(state, form):
    content = as_file(state, form)
    for keep in [*np.linspace(1, len(content) - 1, 25).astype(int), 7, 8, 9, 16, len(content) - 2]:
        refused(content[:keep], "unreadable")


@each_form
def test_damaged_files_load_or_are_refused_but_never_crash(state, form):
    """One byte changed anywhere: in the weights it may go unnoticed, in the structure it may not escape as a crash."""
    content, random = as_file(state, form), np.random.default_rng(0)
    structure = [*range(0, 400), *range(len(content) - 800, len(content))]  # headers lie at either end
    for position in random.choice(structure, 300, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= int(random.integers(1, 256))
        try:
            loading.load("tutorial-cnn", checkpoint=bytes(damaged))
        except UserError as error:
            assert error.key.startswith("checkpoint.")


@pytest.mark.parametrize("content", [
    b"", b"\x00" * 100, b"PK\x03\x04", b"\x80\x02.", b"hello world\n" * 20, b"{}" * 20, struct.pack("<Q", 2) + b"{}",
    struct.pack("<Q", 2 ** 63) + b"{" * 50, np.random.default_rng(1).bytes(5000),
], ids=["empty", "zeros", "zip's first bytes", "empty pickle", "text", "braces", "empty safetensors",
        "huge safetensors header", "random"])
def test_other_files_are_refused(content, tmp_path):
    refused(content, "unreadable")
    path = tmp_path / "notes.pth"
    path.write_bytes(content)
    assert "notes.pth" in refused(path, "unreadable")


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {}, "text", 5, None, {"state_dict": {}}],
                         ids=["list", "tensor", "empty dict", "text", "number", "none", "empty state_dict"])
def test_torch_files_without_a_state_dict_are_refused(content):
    with pytest.raises(UserError):
        loading.load("tutorial-cnn", checkpoint=torch_bytes(content))


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        assert str(path) in refused(path, "missing")


# Checkpoints that attack

class Touch:
    """Creates a file when it is unpickled by a reader that runs what a pickle says."""

    def __init__(self, path, through):
        self.path, self.through = str(path), through

    def __reduce__(self):
        if self.through == "os.system":
            return os.system, (f"touch '{self.path}'",)
        return open, (self.path, "w")


@each_format
@pytest.mark.parametrize("through", ["os.system", "open"])
@pytest.mark.parametrize("place", ["alone", "beside the tensors", "in place of a tensor", "wrapped"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(state, tmp_path, zipped, through, place):
    marker = tmp_path / "marker"
    evil = Touch(marker, through)
    content = {"alone": evil, "beside the tensors": {**state, "x": evil},
               "in place of a tensor": {**state, "fc2.bias": evil},
               "wrapped": {"state_dict": state, "optimizer": evil}}[place]
    refused(torch_bytes(content, zipped), "unsafe")
    assert not marker.exists()
    torch.load(io.BytesIO(torch_bytes(evil, zipped)), weights_only=False)
    assert marker.exists(), "the trap works on a reader that falls for it"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.filterwarnings("ignore")  # torch warns of the protocol
def test_a_plain_pickle_that_runs_code_does_not_run(tmp_path, protocol):
    marker = tmp_path / "marker"
    with pytest.raises(UserError):
        loading.load("tutorial-cnn", checkpoint=pickle.dumps(Touch(marker, "os.system"), protocol=protocol))
    assert not marker.exists()


@each_format
def test_a_whole_pickled_module_is_refused(zipped):
    refused(torch_bytes(built("tutorial-cnn"), zipped), "unsafe")
    refused(torch_bytes(nn.Linear(2, 2), zipped), "unsafe")


def test_a_zip_that_unpacks_to_too_much_is_refused():
    """A few hundred kilobytes of zeros that declare, and would take, more than the limit."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for k in range(3):
            archive.writestr(f"archive/data/{k}", bytes(int(loading.LIMIT * 1e6 / 2)))
    assert len(file.getvalue()) < 5_000_000
    assert str(loading.LIMIT) in refused(file.getvalue(), "too_large")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(int(loading.LIMIT * 1e6) + 1)  # sparse: takes no room
    assert "huge.safetensors" in refused(path, "too_large")


@pytest.mark.parametrize("settings", [
    {"mean": (0.1, 0.2)}, {"std": (1.0, 1.0, 1.0)}, {"mean": (0.1,), "std": (1.0, 1.0)}, {"std": (0.0,)},
    {"std": (-1.0,)}, {"std": (math.nan,)}, {"mean": (math.nan,)}, {"mean": (math.inf,)}, {"std": (math.inf,)},
    {"mean": ()}, {"std": ()},
], ids=str)
def test_a_normalisation_that_makes_no_sense_is_refused(state, settings):
    message = refused(torch_bytes(state), "normalisation", **settings)
    assert "1 number" in message


def test_a_normalisation_of_three_channels_needs_three_numbers():
    content = torch_bytes(built("resnet20").state_dict())
    refused(content, "normalisation", "resnet20", mean=(0.5,), std=(0.5,))
    refused(content, "normalisation", "resnet20", std=(0.2, 0.2, 0.0))
