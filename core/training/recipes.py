"""How each network of assets/weights was trained: RECIPES, a plain dict. Kept as data in its card."""
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """SGD with Nesterov momentum, and what is done against adversarial images.

    method "none" fits clean images. "adversarial" minimises alpha CE(f(x), y) + (1 - alpha) CE(f(x'), y) with x' from
    `steps` steps of PGD in the L-inf ball of `eps`, from a random point of it or, without `random_start`, from the image
    itself, made anew for every batch: with one step it is
    FGSM training (Goodfellow et al. 2015, https://arxiv.org/abs/1412.6572; with a random start against catastrophic
    overfitting, Wong et al. 2020, https://arxiv.org/abs/2001.03994), with alpha = 0 and more steps Madry et al.'s
    (https://arxiv.org/abs/1706.06083). "static" adds FGSM images of the network `base` to the training set, once.
    "noisy" is adversarial training with one step of eps from noise of twice eps, not projected on the ball: N-FGSM
    (de Jorge et al. 2022, https://arxiv.org/abs/2202.01181), which costs what FGSM training costs and leaves the
    network about as robust as several steps do. "worst-case" minimises the cross-entropy of a linear network at its worst
    point within eps, in closed form.
    "l1" adds `strength` times the L1 norm of the first layer's weights: "adversarial weight decay".
    With any other method than "static", training starts from the weights of `base` where one is named: adversarial
    training then needs fewer epochs (Jeddi et al. 2020, https://arxiv.org/abs/2012.13628).
    """

    epochs: int
    batch_size: int
    learning_rate: float  # the highest of the cycle
    weight_decay: float
    augment: str = "none"  # or "crop" (random shift within `pad` pixels of padding), "crop-flip"
    pad: int = 0
    label_smoothing: float = 0.0
    momentum: float = 0.9
    schedule: str = "one-cycle"  # Smith & Topin 2018, https://arxiv.org/abs/1708.07120; or "constant"
    warm_up: float = 0.2  # share of the steps in which the rate of a cycle rises
    clip: float = 0.0  # largest L2 norm of a gradient; 0: any
    max_norm: float = 0.0  # largest L2 norm of the weights into a unit (Srivastava et al. 2014); 0: any
    method: str = "none"
    eps: float = 0.0
    steps: int = 1
    step_size: float = 1.0  # in units of eps
    random_start: bool = True
    alpha: float = 0.0  # share of the clean images in the loss
    ramp: float = 0.0  # share of the steps in which eps rises from 0: without it small networks learn nothing
    strength: float = 0.0
    base: str = ""
    members: int = 1  # networks of an ensemble, trained one after the other with seeds of their own
    seed: int = 0

    @property
    def adversarial(self) -> bool:
        """Whether images are attacked anew for every batch."""
        return self.method in ("adversarial", "noisy")


def fgsm(recipe: Recipe, eps: float, **more) -> Recipe:
    """Adversarial training with one step, 1.25 eps long from a random start (Wong et al. 2020)."""
    return replace(recipe, method="adversarial", eps=eps, steps=1, step_size=1.25, **more)


def pgd(recipe: Recipe, eps: float, steps: int, **more) -> Recipe:
    """Adversarial training with `steps` steps of 2.5 eps / steps (Madry et al. 2018)."""
    return replace(recipe, method="adversarial", eps=eps, steps=steps, step_size=2.5 / steps, **more)


_DIGITS = Recipe(20, 64, 0.05, 5e-4)
_LONG = Recipe(200, 128, 0.03, 0.0, schedule="constant")  # nothing against overfitting: that is the experiment
_FIRM = Recipe(20, 128, 0.1, 0.0, ramp=0.3)
_LINEAR = Recipe(20, 128, 0.1, 0.0)
_MAXOUT = Recipe(40, 128, 0.05, 0.0, clip=1.0, max_norm=1.94)
_PHOTOS = Recipe(25, 128, 0.06, 5e-4, "crop-flip", pad=4, label_smoothing=0.05)
# Small networks underfit: less decay, less shift. A plain network attacked in full at once would lose all its units.
_ROBUST = Recipe(20, 128, 0.06, 1e-4, "crop-flip", pad=1, eps=8 / 255, clip=1.0, ramp=0.15)

RECIPES = {
    "tutorial-cnn": Recipe(20, 64, 0.05, 1e-4),
    "lenet5": _DIGITS,
    # Without He's initialisation (core/models/lenet.py) and clipped gradients 20 more layers do not start to learn.
    **{f"lenet5-{extra}": replace(_DIGITS, learning_rate=0.02, clip=1.0) for extra in (2, 4, 6, 10, 20)},
    **{f"lenet5-e{epochs}": replace(_LONG, epochs=epochs) for epochs in (5, 10, 50, 100, 200)},
    "resnet20-mnist": Recipe(5, 128, 0.1, 5e-4, "crop", pad=2),
    "googlenet": Recipe(4, 128, 0.05, 5e-4, "crop", pad=2),
    "softmax": _LINEAR,
    "softmax-l1": replace(_LINEAR, method="l1", strength=0.003),
    **{f"softmax-fgsm-{100 * eps:.0f}": replace(_LINEAR, method="adversarial", eps=eps, random_start=False, alpha=0.5)
       for eps in (0.25, 0.3)},
    "logistic37": _LINEAR,
    "logistic37-worst": replace(_LINEAR, method="worst-case", eps=0.25),
    "maxout": _MAXOUT,
    "maxout-adversarial": replace(_MAXOUT, learning_rate=0.1, method="adversarial", eps=0.25, random_start=False,
                                  alpha=0.5),
    "maxout-augmented": replace(_MAXOUT, epochs=20, method="static", eps=0.25, base="maxout"),
    "rbf": Recipe(40, 128, 0.5, 0.0, clip=1.0),
    "lenet5-ensemble": replace(_DIGITS, epochs=10, batch_size=128, learning_rate=0.1, members=5, seed=1),
    "lenet5-fgsm": fgsm(_FIRM, 0.3),
    "lenet5-pgd": pgd(_FIRM, 0.3, 7),
    "cnn-pgd": pgd(replace(_FIRM, epochs=10), 0.3, 7),
    "lenet5-cifar": replace(_PHOTOS, epochs=40, label_smoothing=0.0),
    "convnet3": _PHOTOS,
    "convnet3-fgsm": replace(_ROBUST, method="noisy", base="convnet3"),
    # R3's own PGD (from the image itself, steps longer than the ball's radius), in three steps, in a larger ball: at
    # 8/255 so small a network keeps more clean accuracy, and less at 8/255. Smoothed labels: Pang et al. 2021,
    # https://arxiv.org/abs/2010.00467.
    "convnet3-pgd": replace(_ROBUST, epochs=4, pad=0, label_smoothing=0.1, learning_rate=0.04, ramp=0.0,
                            method="adversarial", eps=12 / 255, steps=3, step_size=1.6, random_start=False,
                            base="convnet3-fgsm"),
    "convnet6-bn": Recipe(24, 128, 0.1, 5e-4, "crop-flip", pad=4),
    "resnet20": Recipe(75, 128, 0.15, 5e-4, "crop-flip", pad=4),
    "resnet14": Recipe(10, 128, 0.2, 5e-4, "crop-flip", pad=4),
    "resnet14-fgsm": replace(_ROBUST, epochs=12, learning_rate=0.1, weight_decay=3e-4, pad=2, clip=0.0, ramp=0.1,
                             label_smoothing=0.1, method="noisy", base="resnet14"),
}
