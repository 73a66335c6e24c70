"""The figures of report R2, and R3's table of adversarial training, with the lab's networks on the official test sets:
FIGURES, a plain dict."""
from core.evidence.frequency import fourier, spectra, transfer
from core.evidence.robustness import first_error, layers, lengths, qualities
from core.evidence.training import hardening
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
    "hardening": hardening,
}
