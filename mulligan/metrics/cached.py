"""Features that were computed before: those of a data set's images with a large network take minutes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from mulligan.errors import MulliganError
from mulligan.files import make_folder, replace_file
from mulligan.metrics.embed import AnyImages, Embedding


def cached_features(embedding: Embedding, images: AnyImages, folder: Path) -> Float[np.ndarray, "n d"]:
    """The features of these very images in this very embedding, read from `folder` where they are there.

    The file's name is a hash of both. One that is damaged is written anew; a folder that cannot be written to is done
    without.

    Args:
      embedding: whose features are wanted; its name stands for its weights.
      images: uint8 `[n, h, w, c]`.
      folder: of features that may be deleted at any time; made where it is missing.

    Raises:
      MulliganError: images that the embedding does not take.
    """
    images = np.ascontiguousarray(images)
    digest = hashlib.sha256(f"{embedding.name} {images.shape}".encode())
    digest.update(images.data)
    path = folder / f"{digest.hexdigest()[:32]}.safetensors"
    try:
        known = load_file(path)["features"]
        if known.shape == (len(images), embedding.dimension):
            return known
    except (OSError, KeyError, SafetensorError):
        pass
    features = embedding(images)
    try:
        make_folder(folder)
        replace_file(path, save({"features": features}))
    except MulliganError:
        return features
    return features
