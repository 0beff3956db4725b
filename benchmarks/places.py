"""Where the checkout and the real data beside it lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
MLM = SHARED / "models" / "minilm-l6-mlm"
VECTORS = SHARED / "vectors" / "glove.6B.50d.first100k.txt"
