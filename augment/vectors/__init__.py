"""Word vectors: the K nearest words by cosine, exactly and deterministically.

``formats`` and ``text`` read files, ``table`` builds what searching needs, ``storage`` and
``cache`` keep it for the next start, ``search`` finds neighbors, ``index`` remembers them.
"""

from augment.vectors.cache import cache_folder
from augment.vectors.index import Neighbors, Vectors
from augment.vectors.loading import load_vectors

__all__ = ["Neighbors", "Vectors", "cache_folder", "load_vectors"]
