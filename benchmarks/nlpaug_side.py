"""The other side of ``against_nlpaug``: runs in nlpaug's own environment, prints seconds a row.

python nlpaug_side.py MODEL_FOLDER TEXTS.json THREADS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Make one variant of each text, after one that is not counted."""
    import torch
    from nlpaug.augmenter.word import ContextualWordEmbsAug

    folder, texts, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    augmenter = ContextualWordEmbsAug(
        model_path=folder, model_type="bert", action="substitute", aug_p=0.4, top_k=15, device="cpu"
    )
    asked = json.loads(Path(texts).read_text())
    augmenter.augment(asked[0])
    began = time.perf_counter()
    for text in asked:
        augmenter.augment(text)
    print(json.dumps({"seconds": time.perf_counter() - began, "rows": len(asked)}))


if __name__ == "__main__":
    main()
