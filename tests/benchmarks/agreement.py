"""The attacks beside the reference libraries on the shipped networks, in one table: `python -m tests.benchmarks.agreement`.

The first 200 bundled digits that the network reads correctly, one seed. Attacks whose every step is fixed are compared
pixel by pixel (the largest difference); the others by what they reach: how many images stay right at one epsilon, or the
mean L2 distance. "Worse than" a library is what would have to be explained.
"""
import argparse

import torch

from core.attacks import (APGD, APGDL2, APGDT, APGDTL2, FGM, FGSM, MIFGSM, PGD, PGDL2, CarliniWagner, DeepFool, Square,
                          SquareL2)
from core.data import SAMPLES, load
from core.models import loading
from core.vision import torchvision

COUNT = 200
EPS = {"linf": 0.1, "l2": 1.3}


def references(model, x, y):
    """name of our attack -> (ours, {library: its adversarial images})"""
    import foolbox as fb
    import torchattacks as ta
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    wrapped = fb.PyTorchModel(model, bounds=(0, 1))
    classifier = PyTorchClassifier(model, loss=torch.nn.CrossEntropyLoss(), input_shape=tuple(x.shape[1:]),
                                   nb_classes=10, clip_values=(0.0, 1.0), device_type="cpu")
    linf, l2 = EPS["linf"], EPS["l2"]

    def fool(attack, eps):
        return attack(wrapped, x, y, epsilons=eps)[1]

    def art(kind, **settings):
        return torch.as_tensor(kind(classifier, **settings).generate(x.numpy(), y.numpy()))

    fixed = {"rel_stepsize": 0.25, "steps": 20, "random_start": False}
    art_fixed = {"max_iter": 20, "num_random_init": 0, "verbose": False, "batch_size": len(x)}
    projected = evasion.ProjectedGradientDescent
    torch.manual_seed(0)  # the libraries draw from the global generator
    yield "FGSM", FGSM(linf), {"foolbox": fool(fb.attacks.LinfFastGradientAttack(), linf), "torchattacks":
                               ta.FGSM(model, eps=linf)(x, y), "ART": art(evasion.FastGradientMethod, eps=linf)}
    yield "FGM", FGM(l2), {"foolbox": fool(fb.attacks.L2FastGradientAttack(), l2),
                           "ART": art(evasion.FastGradientMethod, eps=l2, norm=2)}
    yield "PGD (L-inf), 20 steps", PGD(linf, random_start=False), {
        "foolbox": fool(fb.attacks.LinfProjectedGradientDescentAttack(**fixed), linf),
        "torchattacks": ta.PGD(model, eps=linf, alpha=linf / 4, steps=20, random_start=False)(x, y),
        "ART": art(projected, eps=linf, eps_step=linf / 4, **art_fixed)}
    yield "PGD (L2), 20 steps", PGDL2(l2, random_start=False), {
        "foolbox": fool(fb.attacks.L2ProjectedGradientDescentAttack(**fixed), l2),
        "torchattacks": ta.PGDL2(model, eps=l2, alpha=l2 / 4, steps=20, random_start=False)(x, y),
        "ART": art(projected, eps=l2, eps_step=l2 / 4, norm=2, **art_fixed)}
    yield "MI-FGSM, 10 steps", MIFGSM(linf), {
        "torchattacks": ta.MIFGSM(model, eps=linf, alpha=linf / 10, steps=10, decay=1.0)(x, y)}
    yield "APGD-CE (L-inf), 50 steps", APGD(linf), {"torchattacks": ta.APGD(model, eps=linf, steps=50)(x, y)}
    yield "APGD-CE (L2), 50 steps", APGDL2(l2), {"torchattacks": ta.APGD(model, norm="L2", eps=l2, steps=50)(x, y)}
    yield "APGD-T (L-inf), 20 steps", APGDT(linf), {
        "torchattacks": ta.APGDT(model, eps=linf, steps=20, n_classes=10)(x, y)}
    yield "APGD-T (L2), 20 steps", APGDTL2(l2), {
        "torchattacks": ta.APGDT(model, norm="L2", eps=l2, steps=20, n_classes=10)(x, y)}
    yield "Square (L-inf), 500 queries", Square(1.5 * linf, queries=500), {
        "torchattacks": ta.Square(model, eps=1.5 * linf, n_queries=500)(x, y)}
    yield "Square (L2), 500 queries", SquareL2(1.5 * l2, queries=500), {
        "torchattacks": ta.Square(model, norm="L2", eps=1.5 * l2, n_queries=500)(x, y)}
    yield "DeepFool", DeepFool(), {"foolbox": fool(fb.attacks.L2DeepFoolAttack(candidates=10, loss="logits"), None),
                                   "ART": art(evasion.DeepFool, epsilon=0.02, verbose=False, batch_size=len(x))}
    some = x[:50], y[:50]
    yield "Carlini-Wagner (50 images)", CarliniWagner(), {
        "foolbox": fb.attacks.L2CarliniWagnerAttack(binary_search_steps=9, steps=300)(wrapped, *some, epsilons=None)[1]}


def reached(model, images, x, y, distance: bool) -> str:
    with torch.no_grad():
        right = model(images).argmax(dim=1) == y
    if distance:
        return f"L2 {(images - x).flatten(1).norm(dim=1)[~right].mean():.3f}, {int((~right).sum())} fooled"
    return f"{int(right.sum())} right"


def main() -> None:
    argparse.ArgumentParser(prog="python -m tests.benchmarks.agreement", description=__doc__.splitlines()[0]).parse_args()
    torchvision()
    dataset = load("mnist", "sample", SAMPLES)
    print(f"eps {EPS['linf']} (L-inf), {EPS['l2']} (L2), Square half as much again; n = {COUNT} digits\n")
    print("| network | attack | Epsilon Lab | foolbox | torchattacks | ART | largest difference of a pixel |")
    print("|---|---|---|---|---|---|---:|")
    for name in ("tutorial-cnn", "lenet5"):
        model = loading.load(name)
        x, y = dataset.batch(slice(0, 2 * COUNT))
        with torch.no_grad():
            right = model(x).argmax(dim=1) == y
        x, y = x[right][:COUNT].contiguous(), y[right][:COUNT]
        for title, attack, theirs in references(model, x, y):
            n = len(next(iter(theirs.values())))
            ours = attack(model, x[:n], y[:n]).adversarial
            cells = [reached(model, theirs[library], x[:n], y[:n], not attack.bounded) if library in theirs else ""
                     for library in ("foolbox", "torchattacks", "ART")]
            fixed = isinstance(attack, (FGSM, FGM, PGD, PGDL2, MIFGSM))
            gap = f"{max(float((each - ours).abs().max()) for each in theirs.values()):.0e}" if fixed else ""
            print(f"| {name} | {title} | {reached(model, ours, x[:n], y[:n], not attack.bounded)} | "
                  f"{' | '.join(cells)} | {gap} |", flush=True)


if __name__ == "__main__":
    main()
