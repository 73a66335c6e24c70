"""Confidence intervals for shares."""
import math


def wilson(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval for a share, 95 % by default (https://doi.org/10.2307/2276774).

    Holds at 0 and at `total`, where the textbook interval has no width. (0, 1) when total is 0.
    """
    if total == 0:
        return 0.0, 1.0
    share, weight = correct / total, z * z / total
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / total + weight / (4 * total))
    # At either end the exact limit is the end itself; rounding must not exclude the share.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == total else centre + half)
