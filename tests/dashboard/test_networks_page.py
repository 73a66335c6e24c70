"""The page of all networks: its numbers are the cards', and a card hides nothing that decided."""
import json

from core.models.cards import MODELS
from driver import chosen, opened


def test_every_card_opens_and_says_its_numbers(downloads):
    for name, card in MODELS.items():
        if not card.measured:
            continue
        app = opened("networks", {"network": name, "data": card.dataset, "attack": "fgsm", "lang": "en"})
        assert not app.error and app.query_params["network"] == name
        page = " ".join(each.proto.body for each in app.get("html"))
        assert f"{100 * card.measured['accuracy']['accuracy']:.1f} %" in page
        assert json.loads(downloads[f"{name}.json"]) == card.measured
        assert downloads[f"{name}.safetensors"] == card.weights.read_bytes()


def test_catastrophic_overfitting_is_named_where_it_happened():
    for name, card in MODELS.items():
        if card.measured.get("watched"):
            app = opened("networks", {"network": name, "data": card.dataset})
            assert len(app.warning) == (name == "maxout-adversarial"), name


def test_the_table_of_networks_is_the_cards():
    app = opened("networks", {"data": "mnist", "attack": "pgd"})
    table = app.dataframe[0].value
    measured = [card for card in MODELS.values() if card.dataset == "mnist" and card.measured]
    assert list(table["Parameters"]) == [card.parameters for card in measured]
    assert list(table["Clean"]) == [card.measured["accuracy"]["accuracy"] for card in measured]
    eps = max(line["eps"] for line in measured[0].measured["robust"])
    assert list(table["PGD-20"]) == [line["accuracy"] for card in measured for line in card.measured["robust"]
                                     if (line["attack"], line["eps"]) == ("pgd", eps)]


def test_a_network_of_ones_own_stands_beside_the_others():
    content = MODELS["softmax-l1"].weights.read_bytes()
    own = {"architecture": "softmax", "digest": "1", "mean": (0.0,), "std": (1.0,), "content": content, "seen": None}
    app = opened("networks", {"data": "mnist"}, own_checkpoints={"mine": own})
    chosen(app, "networks.left.mnist", "softmax-l1")
    chosen(app, "networks.right.mnist", "mine")
    left, right = (each.proto.body for each in app.get("html") if '<div class="tiles' in each.proto.body)
    assert left == right and "<img" in left
    photos = opened("networks", {"data": "cifar10"}, own_checkpoints={"mine": own})
    assert "mine" not in photos.get_by_key("networks.right.cifar10").options


def test_nonsense_in_a_link_to_the_networks():
    app = opened("networks", {"network": "nonesuch", "data": "mnist", "attack": "7"})
    assert not app.error and app.query_params["network"] in MODELS


def test_a_recipe_says_what_is_not_usual_and_how_it_was_attacked():
    def recipe(name):
        app = opened("networks", {"network": name, "data": MODELS[name].dataset})
        return next(each.value for each in app.markdown if "`epochs`" in each.value)
    assert "`clip` 1.0" in recipe("lenet5-20") and "`seed` 0" in recipe("lenet5-20"), "how deep ones are made to learn"
    assert "`random_start` False" in recipe("softmax-fgsm-25") and "`steps` 1" in recipe("softmax-fgsm-25")
    assert "`random_start` True" in recipe("lenet5-pgd") and "`steps` 7" in recipe("lenet5-pgd")
    assert "`pad` 1" in recipe("convnet3-fgsm") and "`seed` 1" in recipe("lenet5-ensemble")
    assert "`strength`" not in recipe("lenet5-pgd") and "`steps`" not in recipe("lenet5")
