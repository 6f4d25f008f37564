"""Where things lie in the repository."""

from pathlib import Path

_MODELS = Path(__file__).resolve().parents[2] / "models"

# Lends its vocabulary and mel filters, which are Whisper's and the same in every English model.
SHIPPED_MODEL = _MODELS / "diarist-micro-en-q8_0.bin"
# Likewise for multilingual models.
SHIPPED_MULTILINGUAL = _MODELS / "diarist-micro-multi-q8_0.bin"
