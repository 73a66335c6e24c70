"""One image clean, attacked and defended, with what counts in each: results of core as tiles and words."""
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch

from core.analysis.overlap import PREDICTED, TOP, TRUE, change, rank_correlation, strongest, top_intersection
from core.analysis.saliency import Maps
from core.images import to_uint8
from dashboard import cache, palette, tiles
from dashboard.controls import Choice, Network, Subject
from dashboard.i18n import class_name, number, t

CHANCE = 0.1  # a rank correlation this near 0 is called chance: neighbouring pixels are alike, which widens its spread


@dataclass(frozen=True)
class Explanation:
    """What a person asked to see."""

    method: str
    explain: str  # PREDICTED, TRUE or the number of a class
    magnitude: bool
    layer: str | None


@dataclass(frozen=True)
class Shown:
    """An image three times, clean, adversarial and behind JPEG, and what the network says of each."""

    subject: Subject
    network: Network
    keys: tuple[tuple, tuple]  # of the first two images, and of the third, in caches
    images: torch.Tensor  # [3, C, H, W]
    predicted: tuple[int, ...]
    sure: tuple[float, ...]
    quality: int

    def name(self, number_of_class: int) -> str:
        """A class by name; a network may know more classes than a data set names."""
        names = self.subject.classes
        return class_name(names[number_of_class]) if number_of_class < len(names) else str(number_of_class)

    def classes(self, explain: str) -> tuple[int, ...]:
        """The class that each of the three maps explains."""
        if explain == PREDICTED:
            return self.predicted
        return (self.subject.label if explain == TRUE else int(explain),) * 3

    def maps(self, method: str, explain: str, layer: str | None) -> Maps:
        """The maps of all three."""
        classes = self.classes(explain)
        parts = [cache.saliency(key, method, classes[some], layer, _model=self.network.module,
                                _images=self.images[some]) for key, some in zip(self.keys, (slice(0, 2), slice(2, 3)))]
        return Maps(torch.cat([part.signed for part in parts]), torch.cat([part.magnitude for part in parts]))


def shown(subject: Subject, network: Network, attack: Choice, settings: tuple, quality: int) -> Shown:
    """Attack and defend one image."""
    key = (network.key, subject.shape, subject.pixels, subject.label, attack.name, settings)
    adversarial = cache.attacked(*key, _model=network.module).adversarial.cpu()
    jpeg = (("quality", quality),)
    defended = cache.defended((key, "attacked"), "jpeg", jpeg, _model=network.module, _images=adversarial).images
    images = torch.cat([cache.image(subject.shape, subject.pixels), adversarial, defended])
    with torch.no_grad():
        shares = network.module(images.to(cache.device())).softmax(dim=1).cpu()
    return Shown(subject, network, (key, (key, jpeg)), images, tuple(shares.argmax(dim=1).tolist()),
                 tuple(shares.amax(dim=1).tolist()), quality)


def noise(seen: Shown) -> torch.Tensor:
    """How much each pixel was changed: [1, H, W]."""
    return change(seen.images[:1], seen.images[1:2])


def headline(seen: Shown, found: Maps) -> str:
    """What happened, and whether the noise falls where the network looks, in one sentence."""
    before, after = seen.name(seen.predicted[0]), seen.name(seen.predicted[1])
    label = seen.subject.label
    if label is not None and seen.predicted[0] != label:
        read = t("live.wrongAnyway", truth=seen.name(label), **{"is": before})
    else:
        read = t("live.misread" if before != after else "live.holds", was=before, **{"is": after})
    rank = float(rank_correlation(noise(seen), found.magnitude[:1]))
    if np.isnan(rank):
        where = "even" if noise(seen).any() else "none"
    else:
        where = "chance" if abs(rank) < CHANCE else "on" if rank > 0 else "off"
    return t("saliency.headline", read=read, falls=t(f"saliency.falls.{where}", r=_minus(number(rank, 2))))


def three(seen: Shown, found: Maps, asked: Explanation) -> str:
    """Each image above its map; the perturbation above the strongest pixels of noise and map."""
    dark = st.context.theme.type == "dark"
    titles = (t("live.clean"), t("live.adversarial"), t("live.defendedBy", defense=f"JPEG {seen.quality}"))
    classes, sections = seen.classes(asked.explain), []
    for k, (title, image) in enumerate(zip(titles, to_uint8(seen.images))):
        said = f"{seen.name(seen.predicted[k])} · {number(100 * seen.sure[k], 1)} %"
        counts = t("live.saliency", name=seen.name(classes[k]))
        wrong = seen.predicted[k] != (seen.predicted[0] if seen.subject.label is None else seen.subject.label)
        sections.append(tiles.stack(title, [tiles.Part(image, f"{title}: {said}", said, wrong),
                                            tiles.Part(draw(found, k, asked.magnitude, dark), counts, counts)]))
    delta = (seen.images[1] - seen.images[0]).numpy()
    size = f"L-inf {number(float(np.abs(delta).max()), 3)} · L2 {number(float(np.sqrt(np.square(delta).sum())), 2)}"
    pixels = [strongest(maps)[0].numpy() if maps.any() else np.zeros(maps.shape[1:])
              for maps in (noise(seen), found.magnitude[:1])]
    legend = tuple(zip(palette.BOTH_DARK if dark else palette.BOTH_LIGHT,
                       (t("saliency.noise"), t("saliency.map"), t("saliency.both"))))
    sections.append(tiles.stack(t("saliency.perturbation"), [
        tiles.Part(tiles.signed(delta, dark), t("compare.noise.alt"), size),
        tiles.Part(tiles.both(*pixels, dark), t("saliency.both.alt"), legend=legend)]))
    return tiles.stacks(sections)


def draw(found: Maps, k: int, magnitude: bool, dark: bool) -> np.ndarray:
    """One map as colours."""
    if magnitude:
        return tiles.magnitude(found.magnitude[k].numpy())
    return tiles.signed(found.signed[k:k + 1].numpy(), dark)


def in_words(seen: Shown, found: Maps) -> str:
    """The overlaps in words, with what chance would give."""
    before, after, delta = found.magnitude[:1], found.magnitude[1:2], noise(seen)
    rank, kept = float(rank_correlation(delta, before)), float(rank_correlation(before, after))
    lines = []
    if not np.isnan(rank):
        lines.append(t("saliency.words.noise", r=_signed(rank), share=_percent(top_intersection(delta, before)),
                       chance=_percent(TOP)))
    if not np.isnan(kept):
        lines.append(t("saliency.words.kept", r=_signed(kept), share=_percent(top_intersection(before, after))))
    return "  \n".join(lines)


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + _minus(number(value, 2))


def _minus(text: str) -> str:
    """With a minus sign, which a line does not break behind."""
    return text.replace("-", "\u2212")


def _percent(share: torch.Tensor | float) -> str:
    return f"{number(100 * float(share), 0)}\u00a0%"


def side_by_side(seen: Shown, methods: list[str], asked: Explanation) -> str:
    """Every method's map of the clean and of the adversarial image, with its overlap with the noise."""
    dark = st.context.theme.type == "dark"
    sections = []
    for method in methods:
        found = seen.maps(method, asked.explain, asked.layer)
        rank = float(rank_correlation(noise(seen), found.magnitude[:1]))
        title = t(f"saliency.method.{method}")
        under = "" if np.isnan(rank) else t("saliency.noise.rank", r=_signed(rank))
        sections.append(tiles.stack(title, [
            tiles.Part(draw(found, 0, asked.magnitude, dark), f"{title}, {t('live.clean')}", t("live.clean")),
            tiles.Part(draw(found, 1, asked.magnitude, dark), f"{title}, {t('live.adversarial')}",
                       t("live.adversarial")),
        ], under))
    return tiles.stacks(sections)
