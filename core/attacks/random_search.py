"""Black box by random search: what report R3 does, and SimBA-like attacks build on (https://arxiv.org/abs/1905.07121)."""
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from core.attacks.base import Rows, Search, Searched, fooled, log_odds, uniform
from core.norms import NORMS, per_image
from core.settings import setting


@dataclass(frozen=True)
class _RandomSearch(Searched):
    paper: ClassVar[str] = "https://arxiv.org/abs/1905.07121"

    step_size: float = setting(0.2, 0.001, 2.0, 0.01)  # in units of eps

    def search(self, model, x, y, eps, *, target, generator, on_step=None):
        rows, now = Rows(x, y, eps, target), x
        places = torch.arange(len(x), device=x.device)
        asked = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        best, trace = None, []
        for query in range(self.queries):
            # The first question shows the image itself; each later one a small random step, kept if it helps.
            proposal = now
            noise = self._noise(x, generator) if query else None
            if noise is not None:
                moved = now + self.step_size * per_image(rows.eps, rows.x) * noise[places]
                proposal = (rows.x + NORMS[self.norm].project(moved - rows.x, rows.eps)).clamp(0, 1)
            with torch.no_grad():
                logits = model(proposal)
            score = log_odds(logits, rows.y, rows.target)
            helps = torch.ones_like(score, dtype=torch.bool) if best is None else (
                score < best[places] if target is None else score > best[places])
            best = score.clone() if best is None else best.index_put((places[helps],), score[helps])
            now = torch.where(per_image(helps, now), proposal, now)
            asked[places[~rows.finished]] += 1
            trace.append(best)
            kept = rows.leave(fooled(logits, rows.y, rows.target) & helps, now)
            if on_step:
                on_step(query + 1)
            if kept is not None:
                now, places = now[kept], places[kept]
            if not len(now) or rows.finished.all():
                break
        trace = torch.stack(trace).sigmoid() if trace else x.new_empty(0, len(x))
        return Search(rows.put_back(now), asked, _held(trace, asked))

    def _noise(self, x: Tensor, generator) -> Tensor:
        signs = 2 * uniform(len(x), tuple(x.shape[1:]), generator).to(x) - 1
        return NORMS[self.norm].steepest(signs)


def _held(trace: Tensor, asked: Tensor) -> Tensor:
    """A trace that stands still from an image's last query on (its row may have stayed in the batch)."""
    last = torch.arange(len(trace), device=trace.device)[:, None].minimum((asked - 1).clamp_min(0))
    return trace.gather(0, last)


@dataclass(frozen=True)
class RandomSearch(_RandomSearch):
    """Keeps random steps that lower the true class's probability, inside the L-inf ball (report R3's black box).

    d ~ U{-1, 1}^n;  x' = clamp(P(x_k + step_size * eps * d));  x_k+1 = x' if p_y(x') < p_y(x_k), else x_k. Towards a
    target, if p_t rises. One query a step; an image that is fooled stops.
    """

    title: ClassVar[str] = "Random search (L-inf)"
    norm: ClassVar[str] = "linf"


@dataclass(frozen=True)
class RandomSearchL2(_RandomSearch):
    """The same in the L2 ball, with d uniform in the cube, scaled to length 1."""

    title: ClassVar[str] = "Random search (L2)"
    norm: ClassVar[str] = "l2"
