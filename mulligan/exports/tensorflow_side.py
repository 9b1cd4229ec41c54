"""Run as a program, where TensorFlow is Keras's backend.

`write MODEL.keras FOLDER`, or `read FOLDER GIVEN.npz OUT.npy`. It knows nothing of mulligan, like the
programs that open the folder later.
"""

from __future__ import annotations

import sys
from typing import Any


def write(model_path: str, folder: str) -> None:
    """A SavedModel with the endpoint `serve`: latents, and labels where there are classes, to images 0 to 255."""
    import keras
    import tensorflow as tf  # pyright: ignore[reportMissingImports]

    model: Any = keras.saving.load_model(model_path, compile=False, safe_mode=True)
    width = next(one.shape[1] for one in model.inputs if one.name == "latents")
    latent = tf.TensorSpec((None, width), tf.float32, "latents")
    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    if len(model.inputs) == 1:
        archive.add_endpoint("serve", lambda latents: model(latents) * 127.5 + 127.5, [latent])
    else:
        labels = tf.TensorSpec((None,), tf.int32, "labels")
        archive.add_endpoint(
            "serve",
            lambda latents, labels: model({"latents": latents, "labels": labels}) * 127.5 + 127.5,
            [latent, labels],
        )
    archive.write_out(folder, verbose=False)


def read(folder: str, given: str, out: str) -> None:
    """The images that the endpoint draws."""
    import numpy as np
    import tensorflow as tf  # pyright: ignore[reportMissingImports]

    inputs = np.load(given)
    served = tf.saved_model.load(folder)
    np.save(out, served.serve(*(tf.constant(inputs[name]) for name in inputs.files)).numpy())


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
