"""Word vectors: the K nearest words by cosine, exactly and deterministically.

``formats`` and ``text`` read files, ``table`` builds what searching needs, ``mapped`` and ``cache``
keep it for the next start, ``search`` finds neighbours.
"""

from augment.vectors.cache import cache_folder
from augment.vectors.loading import load_vectors
from augment.vectors.neighbours import Neighbours, Vectors

__all__ = ["Neighbours", "Vectors", "cache_folder", "load_vectors"]
