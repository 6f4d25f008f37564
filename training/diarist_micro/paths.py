"""Where things lie in the repository."""

from pathlib import Path

# Lends its vocabulary and mel filters, which are Whisper's and the same in every English model.
SHIPPED_MODEL = Path(__file__).resolve().parents[2] / "models" / "diarist-micro-en-q8_0.bin"
