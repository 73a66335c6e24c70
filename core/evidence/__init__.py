"""The figures of report R2 with the lab's networks, on the official test sets: FIGURES, a plain dict."""
from core.evidence.frequency import fourier, spectra, transfer
from core.evidence.robustness import first_error, layers, lengths, qualities
from core.evidence.where import saliency

FIGURES = {
    "transfer": transfer,
    "layers": layers,
    "lengths": lengths,
    "first-error": first_error,
    "qualities": qualities,
    "saliency": saliency,
    "fourier": fourier,
    "spectra": spectra,
}
