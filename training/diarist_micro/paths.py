"""Where things lie in the repository."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_MODEL = Path(os.environ.get("DIARIST_MICRO_MODEL", REPOSITORY / "models" / "diarist-micro-en-q8_0.bin"))
