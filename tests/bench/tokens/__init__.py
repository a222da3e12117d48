"""How fast tokens are counted, on one core: ``python -m tests.bench.tokens``."""

import os

# Both tokenizers ask for it once, when they are imported: figures are of one core.
os.environ["RAYON_NUM_THREADS"] = "1"
