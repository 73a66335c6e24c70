"""What an attack does over epsilon: to one image (a path) and to a whole data set (an accuracy curve)."""
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from core import norms
from core.analysis.saliency import gradient, saliency
from core.analysis.spectrum import magnitude
from core.attacks import Attack, AttackResult, OneStep
from core.attacks.base import along
from core.data import DataSet, in_turns
from core.defenses import Defense, attackers, positions, tally
from core.errors import UserError
from core.images import quantized
from core.models.cards import ModelCard
from core.statistics import wilson
from core.workers import side_by_side

BATCH = 250  # images of a data set attacked at once


@dataclass(frozen=True)
class EpsilonPath:
    """One image under one attack at E values of eps. Tensors on the CPU."""

    epsilons: tuple[float, ...]
    adversarial: Tensor  # [E, C, H, W]
    probabilities: Tensor  # [E, K], softmax of the logits
    rounded: Tensor  # int [E]: the class predicted after rounding to 8 bits
    linf: Tensor  # [E]
    l2: Tensor  # [E]
    l0: Tensor  # int [E], pixels changed
    spectrum: Tensor  # [E, H, W]: |FFT| of the perturbation, centred
    saliency: Tensor  # [E, H, W]: |gradient| of the predicted class's logit
    flip: float | None  # eps*: the smallest eps found with another prediction than at eps = 0
    flip_step: float  # how finely eps* was searched


@dataclass(frozen=True)
class Defended:
    """Images behind a defense: uint8-exact images [M, C, H, W] and class probabilities [M, K]."""

    images: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class Example:
    """Some images [n, C, H, W] attacked at one eps, with their true and predicted classes."""

    epsilon: float
    images: Tensor
    labels: list[int]
    predicted: list[int]


@dataclass(frozen=True)
class Point:
    """One point of an accuracy curve, with its 95 % Wilson interval."""

    epsilon: float
    correct: int
    total: int
    accuracy: float
    low: float
    high: float

    @classmethod
    def of(cls, epsilon: float, correct: int, total: int) -> "Point":
        """The share and its interval, from counts."""
        return cls(epsilon, correct, total, correct / total, *wilson(correct, total))


def epsilon_path(model: nn.Module, attack: Attack, x: Tensor, y: Tensor, epsilons: Sequence[float], *,
                 target: Tensor | None = None, seed: int = 0, refine: int = 10) -> EpsilonPath:
    """Everything about one image x [1, C, H, W] with label y [1] at all `epsilons` (rising, from 0) at once.

    eps* is searched `refine` times more finely in the first step of `epsilons` in which the prediction flips. For an
    attack without eps, `epsilons` are strengths along the one perturbation that it finds.
    """
    images_at = _walk(model, attack, x, y, target, seed)
    adversarial = images_at(epsilons)
    gradients, logits = gradient(model, adversarial)
    predicted = logits.argmax(dim=1)
    with torch.no_grad():
        rounded = model(quantized(adversarial)).argmax(dim=1)
    flips = (predicted != predicted[0]).nonzero()
    flip, flip_step = None, epsilons[-1] / (len(epsilons) - 1)
    if len(flips):
        k = int(flips[0])
        flip_step = (epsilons[k] - epsilons[k - 1]) / refine
        between = [epsilons[k - 1] + flip_step * j for j in range(1, refine)]
        finer = images_at(between)
        with torch.no_grad():
            fooled = (model(finer).argmax(dim=1) != predicted[0]).nonzero() if between else []
        flip = between[int(fooled[0])] if len(fooled) else epsilons[k]
    delta = adversarial - x
    return EpsilonPath(tuple(epsilons), adversarial.cpu(), logits.softmax(dim=1).cpu(), rounded.cpu(),
                       norms.NORMS["linf"].measure(delta).cpu(), norms.NORMS["l2"].measure(delta).cpu(),
                       norms.l0(delta).cpu(), magnitude(delta).cpu(), saliency(gradients).cpu(), flip, flip_step)


def _walk(model, attack, x, y, target, seed, on_step=None):
    """The function epsilons -> images [E, C, H, W] of one image; an attack without eps is made once for all."""
    if attack.bounded:
        return lambda epsilons: attack.path(model, x, y, epsilons, target=target, seed=seed, on_step=on_step)[:, 0]
    delta = attack(model, x, y, target=target, seed=seed, on_step=on_step).adversarial - x
    return lambda strengths: along(x, delta, strengths)[:, 0]


def defended(model: nn.Module, defense: Defense, images: Tensor) -> Defended:
    """What `defense` makes of images [M, C, H, W], and what the network then sees in them."""
    device = next(model.parameters()).device
    with torch.no_grad():
        images = images.to(device)
        return Defended(defense(images).cpu(), defense.defend(model)(images).softmax(dim=1).cpu())


def known(model: nn.Module, defense: Defense, attack: Attack, x: Tensor, y: Tensor, epsilons: Sequence[float], *,
          target: Tensor | None = None, seed: int = 0, on_step: Callable[[int], None] | None = None) -> Tensor:
    """What the defended network says, [E, K] probabilities, of one image x [1, C, H, W] attacked at each eps by one who
    knows the defense. Of several ways to a gradient the one counts that leaves the true class (or brings the target)
    the least (or the most) probability."""
    judged = defense.defend(model)
    images = [_walk(seen, attack, x, y, target, seed, on_step)(epsilons) for seen in _seen(attack, model, defense, judged)]
    with torch.no_grad():
        shares = torch.stack([judged(each).softmax(dim=1) for each in images])  # [ways, E, K]
    score = shares[..., int(y)] if target is None else -shares[..., int(target)]
    return shares[score.argmin(dim=0), torch.arange(len(epsilons))].cpu()


def examples(model: nn.Module, attack: Attack, dataset: DataSet, epsilons: Sequence[float], *, count: int = 10,
             seed: int = 0) -> list[Example]:
    """The same few images at every eps: the first of each class that the network reads correctly, then the next
    of each, until there are `count`."""
    device = next(model.parameters()).device
    order = in_turns(dataset.labels, 20)
    x, y = dataset.batch(order)
    right = _is_right(model, x.to(device), y.to(device)).cpu()
    kept = order[right.numpy()][:count]
    kept = kept if len(kept) else order[:count]
    x, y = (part.to(device) for part in dataset.batch(kept))
    found = []
    for eps, images in zip(epsilons, attack.path(model, x, y, epsilons, seed=seed)):
        with torch.no_grad():
            found.append(Example(eps, images.cpu(), y.tolist(), model(images).argmax(dim=1).tolist()))
    return found


def over_slider(model: nn.Module, defense: Defense, image: Tensor) -> Defended:
    """One image [1, C, H, W] behind `defense` with its slider at each of its positions."""
    each = [replace(defense, **{defense.slider: value}) for value in positions(type(defense))]
    image = image.to(next(model.parameters()).device)
    with torch.no_grad():
        changed = torch.cat([one(image) for one in each])  # draw 0
        others = [model(torch.cat([one.drawn(image, k) for one in each])) for k in range(1, defense.draws)]
        return Defended(changed.cpu(), tally([model(changed), *others]).softmax(dim=1).cpu())


def require_fit(card: ModelCard, dataset: DataSet, classes: int = 10) -> None:
    """Raise UserError when the network cannot read this data set's images or name its classes."""
    given = int(dataset.labels.max()) + 1
    if card.shape != dataset.shape or given > classes:
        raise UserError("model.does_not_fit", model=card.title, expected="x".join(map(str, card.shape[1:])),
                        classes=classes, data=dataset.name, given="x".join(map(str, dataset.shape[1:])),
                        given_classes=given)
    if not card.knows(dataset.labels):
        raise UserError("model.labels", model=card.title, data=dataset.name,
                        names=", ".join(dataset.classes[k] if k < len(dataset.classes) else str(k) for k in card.labels))


def accuracy_curve(model: nn.Module, attack: Attack, dataset: DataSet, epsilons: Sequence[float], *,
                   limit: int | None = None, defense: Defense | None = None, aware: bool = False,
                   seed: int = 0) -> Iterator[list[Point]]:
    """Accuracy under attack at each eps, yielded anew after every batch of images, so that it can be stopped.

    An image counts as correct at eps when it is classified correctly both clean and attacked (an attacker
    leaves alone what is wrong already). For iterated attacks an image fooled at a smaller eps counts at every
    larger one, and an image is done as soon as it is fooled. An attack without eps counts where the distance that
    it found is larger than eps. With a `defense` the defended network is judged; the attacker sees the bare network, or, when
    `aware`, the defended one in each of the ways of `attackers(defense, model)`, and an image is right only against all
    of them. The first `limit` images are used.
    """
    device = next(model.parameters()).device
    judged = model if defense is None else defense.defend(model)
    seen = _seen(attack, model, defense, judged) if defense is not None and aware else [model]
    cumulative = attack.iterated and (defense is None or aware)
    early = cumulative and not (defense and defense.randomized)  # another draw may read the image right
    one_step = isinstance(attack, OneStep)
    for eps in epsilons if attack.bounded else ():
        replace(attack, eps=eps)  # refuses what the attack refuses, before anything is computed
    total = len(dataset) if limit is None else min(limit, len(dataset))

    def survivors(start: int) -> list[tuple[int, int]]:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        if not attack.bounded:
            distances = _distances(judged, seen, attack, x, y, seed + start)
            return [(k, int((distances > eps).sum())) for k, eps in enumerate(epsilons)]
        return list(_one_step(judged, seen, attack, x, y, epsilons, seed + start) if one_step else
                    _survivors(judged, seen, attack, x, y, epsilons, cumulative, early, seed + start))

    correct = [0] * len(epsilons)
    starts = range(0, total, BATCH)
    for start, found in zip(starts, side_by_side(survivors, starts, device)):
        done = min(start + BATCH, total)
        for k, count in found:
            correct[k] += count
        yield [Point.of(eps, right, done) for eps, right in zip(epsilons, correct)]


def _seen(attack, model, defense, judged) -> list[nn.Module]:
    """What an attacker who knows the defense works on: without gradients, the defended network itself."""
    return [judged] if attack.black_box else attackers(defense, model)


def _survivors(judged, seen, attack, x, y, epsilons, cumulative, early, seed) -> Iterator[tuple[int, int]]:
    """(index of eps, images of the batch still right there)."""
    right = _is_right(judged, x, y)
    x, y = x[right], y[right]
    if not len(y):
        return
    for k in sorted(range(len(epsilons)), key=epsilons.__getitem__):
        if epsilons[k] == 0:
            yield k, len(y)
            continue
        right = torch.ones_like(y, dtype=torch.bool)
        for network in seen:
            rows = right.nonzero()[:, 0]
            if not len(rows):
                break
            result = replace(attack, eps=epsilons[k])(network, x[rows], y[rows], seed=seed, early=early)
            right[rows] = ~result.success if network is judged else _is_right(judged, result.adversarial, y[rows])
        yield k, int(right.sum())
        if cumulative:
            x, y = x[right], y[right]
            if not len(y):
                return


def _distances(judged, seen, attack, x, y, seed) -> Tensor:
    """How far each image had to go, [N]: 0 where it is wrong already, infinite where the attack did not fool it."""
    distances = torch.zeros(len(y), device=x.device)
    right = _is_right(judged, x, y).nonzero()[:, 0]
    if len(right):
        distances[right] = torch.inf
        for network in seen:
            result = attack(network, x[right], y[right], seed=seed)
            found = {"linf": result.linf, "l2": result.l2, "l0": result.l0.float()}[attack.norm]
            found = torch.where(_is_right(judged, result.adversarial, y[right]), torch.inf, found)
            distances[right] = torch.minimum(distances[right], found)
    return distances


def minimal_epsilons(model: nn.Module, attack: Attack, dataset: DataSet, top: float, *, tolerance: float = 1e-3,
                     limit: int | None = None, seed: int = 0) -> Iterator[Tensor]:
    """The smallest eps at which each image is misread, [n] for each batch of the first `limit` images.

    0 where it is misread without an attack, infinite where no eps up to `top` was found. See `minimal_epsilon`.
    """
    device = next(model.parameters()).device
    total = len(dataset) if limit is None else min(limit, len(dataset))

    def search(start: int) -> Tensor:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        return minimal_epsilon(model, attack, x, y, top, tolerance=tolerance, seed=seed + start).cpu()

    return side_by_side(search, range(0, total, BATCH), device)


def minimal_epsilon(model: nn.Module, attack: Attack, x: Tensor, y: Tensor, top: float, *, tolerance: float = 1e-3,
                    seed: int = 0) -> Tensor:
    """The "first error" of images x [N, C, H, W] with labels y [N]: [N], to within `tolerance`.

    One step has one direction and may fool at one eps and not at a larger one, so a grid of eps is gone through from
    below. An attack of several steps is bisected, all images of the batch at once, each with its own eps. An attack
    without eps gives its own distance.
    """
    if not attack.bounded:
        return _distances(model, [model], attack, x, y, seed)
    if isinstance(attack, OneStep):
        return _first_on_grid(model, attack, x, y, top, tolerance, seed)
    high = torch.where(_is_right(model, x, y), torch.inf, 0.0)
    rows = torch.isinf(high).nonzero()[:, 0]
    low, tried = torch.zeros_like(high), torch.full_like(high, top)
    for _ in range(1 + max(0, math.ceil(math.log2(top / tolerance)))):
        if not len(rows):
            break
        attacked = attack.within(model, x[rows], y[rows], tried[rows], seed=seed, early=True)
        right = _is_right(model, attacked, y[rows])
        low[rows] = torch.where(right, tried[rows], low[rows])
        high[rows] = torch.where(right, high[rows], tried[rows])
        rows = rows[torch.isfinite(high[rows])]  # after the first round: what `top` does not fool is left alone
        tried = (low + high) / 2
    return high


def at_first_error(model: nn.Module, attack: Attack, x: Tensor, y: Tensor, top: float, *,
                   seed: int = 0) -> tuple[AttackResult, float | None]:
    """One image x [1, C, H, W] just fooled: attacked at its minimal eps (at `top` where none was found), and that eps.
    None for an attack without eps, which is made as it is."""
    if not attack.bounded:
        return attack(model, x, y, seed=seed), None
    eps = float(minimal_epsilon(model, attack, x, y, top, seed=seed)[0])
    eps = eps if math.isfinite(eps) else top
    return replace(attack, eps=eps)(model, x, y, seed=seed, early=True), eps


def one_of_each(model: nn.Module, dataset: DataSet, skip: int = 0) -> np.ndarray:
    """Indices of one image of each class that the network reads correctly, after `skip` others of that class."""
    device = next(model.parameters()).device
    found = []
    for label in range(len(dataset.classes)):
        places, right = np.flatnonzero(dataset.labels == label), np.empty(0, int)
        for start in range(0, len(places), 50):
            some = places[start:start + 50]
            x, y = (part.to(device) for part in dataset.batch(some))
            right = np.concatenate([right, some[_is_right(model, x, y).cpu().numpy()]])
            if len(right) > skip:
                break
        found += list(right[min(skip, len(right) - 1):][:1]) if len(right) else []
    return np.array(found, int)


def towards_each(model: nn.Module, attack: Attack, x: Tensor, y: Tensor, classes: int, *,
                 seed: int = 0) -> AttackResult:
    """One image x [1, C, H, W] steered towards each class: row k of the result has target k. Its own class too, where
    an attack has nothing to do."""
    goals = torch.arange(classes, device=x.device)
    return attack(model, x.repeat(classes, 1, 1, 1), y.repeat(classes), target=goals, seed=seed)


def _first_on_grid(model, attack, x, y, top, tolerance, seed) -> Tensor:
    direction, _ = attack.direction(model, x, y, None, torch.Generator().manual_seed(seed))
    found = torch.where(_is_right(model, x, y), torch.inf, 0.0)
    rows = torch.isinf(found).nonzero()[:, 0]
    x, y, direction = x[rows], y[rows], direction[rows]
    for k in range(1, math.ceil(top / tolerance) + 1):
        eps = min(k * tolerance, top)
        wrong = ~_is_right(model, torch.add(x, direction, alpha=eps).clamp_(0, 1), y)
        found[rows[wrong]] = torch.minimum(found[rows[wrong]], found.new_tensor(eps))
        left = torch.isinf(found[rows])
        if not left.any():
            break
        if 4 * int(left.sum()) <= 3 * len(rows):  # not one by one: oneDNN compiles for each size of batch
            rows, x, y, direction = rows[left], x[left], y[left], direction[left]
    return found


def queries_needed(model: nn.Module, attack: Attack, dataset: DataSet, *, limit: int | None = None,
                   seed: int = 0) -> Iterator[Tensor]:
    """How many queries a black-box search needs for each image, [n] for each batch: 0 where it is misread anyway,
    infinite where all its queries do not fool it."""
    device = next(model.parameters()).device
    total = len(dataset) if limit is None else min(limit, len(dataset))

    def count(start: int) -> Tensor:
        x, y = (part.to(device) for part in dataset.batch(slice(start, min(start + BATCH, total))))
        needed = torch.zeros(len(y), device=device)
        right = _is_right(model, x, y).nonzero()[:, 0]
        if len(right):
            result = attack(model, x[right], y[right], seed=seed + start)
            needed[right] = torch.where(result.success, result.queries.float(), torch.inf)
        return needed.cpu()

    return side_by_side(count, range(0, total, BATCH), device)


def _one_step(judged, seen, attack, x, y, epsilons, seed) -> Iterator[tuple[int, int]]:
    """The same for an attack of one step, whose direction serves every eps; what its gradient's forward pass says
    of the clean images need not be computed again when attacker and judge see the same network."""
    found = [attack.direction(network, x, y, None, torch.Generator().manual_seed(seed)) for network in seen]
    logits = found[0][1]
    right = logits.argmax(dim=1) == y if logits is not None and seen[0] is judged else _is_right(judged, x, y)
    # The wrong ones stay in the batch: a batch of another size costs more (oneDNN compiles for each) than they do.
    for k, eps in enumerate(epsilons):
        at_eps = right
        for direction, _ in found if eps else ():
            at_eps = at_eps & _is_right(judged, torch.add(x, direction, alpha=eps).clamp_(0, 1), y)
        yield k, int(at_eps.sum())


def _is_right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1) == y
