"""mulligan.keras.GAN: what Keras people expect of a model, on the compiled engine."""

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="Keras is not installed")

import models_of_keras as models  # noqa: E402

import mulligan  # noqa: E402
from mulligan.errors import UsageError  # noqa: E402


@pytest.fixture(autouse=True)
def drawn_alike():
    """Keras draws the models' weights from a generator of its own."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="module")
def images():
    """Bright crosses on black, in many places: something that can be learned in seconds."""
    rng = np.random.default_rng(0)
    made = np.zeros((400, 8, 8, 1), np.uint8)
    for image, (row, column) in zip(made, rng.integers(1, 7, (400, 2)), strict=True):
        image[row, :] = image[:, column] = rng.integers(180, 255)
    return made


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A GAN that was fitted with standard callbacks, how its models were before, and the folder of what was written."""
    folder = tmp_path_factory.mktemp("gan")
    keras.utils.set_random_seed(0)  # it is made before what stands ready for each test
    gan = mulligan.keras.GAN(models.small_generator(), models.small_discriminator())
    before = gan.generator.get_weights()
    gan.compile(gen_lr=3e-3, disc_lr=3e-3, gamma=0.5)
    callbacks = [
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.ModelCheckpoint(
            folder / "best.weights.h5", monitor="val_kid", mode="min", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.ModelCheckpoint(folder / "whole.keras"),
        keras.callbacks.EarlyStopping(monitor="val_kid", mode="min", patience=50, restore_best_weights=True),
    ]
    history = gan.fit(images, epochs=4, batch_size=32, callbacks=callbacks, verbose=0)
    return gan, before, history, folder


@pytest.mark.slow
def test_the_history_has_every_epoch(trained):
    _, _, history, _ = trained
    assert isinstance(history, keras.callbacks.History)
    assert history.epoch == [0, 1, 2, 3]
    assert set(history.history) == {
        "gen_loss",
        "disc_loss",
        "penalty",
        "accuracy",
        "val_kid",
        "val_energy",
        "val_frechet",
    }
    assert np.isfinite(list(history.history.values())).all()
    assert history.history["val_kid"][-1] < history.history["val_kid"][0]


def test_the_callers_models_hold_the_best_epoch(trained):
    gan, before, _, folder = trained
    after = gan.generator.get_weights()
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    again = mulligan.keras.GAN(models.small_generator(), models.small_discriminator())
    again.built = True
    again.load_weights(folder / "best.weights.h5")
    z = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_allclose(again.generator(z), gan(z), atol=1e-6)


def test_callbacks_write_what_they_always_write(trained):
    _, _, history, folder = trained
    lines = (folder / "log.csv").read_text().splitlines()
    assert len(lines) == 5
    assert float(lines[1].split(",")[lines[0].split(",").index("val_kid")]) == pytest.approx(
        history.history["val_kid"][0]
    )
    whole = keras.saving.load_model(folder / "whole.keras", custom_objects={"GAN": mulligan.keras.GAN})
    assert whole.generator.count_params() == models.small_generator().count_params()


def test_a_callback_can_stop_it(images):
    class Enough(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    gan = mulligan.keras.GAN(models.small_generator(), models.small_discriminator())
    assert gan.fit(images, epochs=9, callbacks=[Enough()], validation=False, verbose=0).epoch == [0, 1]


@pytest.mark.slow
def test_the_articles_training_is_one_call(images, capsys):
    gen, disc = models.Generator(64), models.Discriminator()
    history = mulligan.keras.train(gen, disc, epochs=1, batch_size=64, images=images)
    assert len(history.epoch) == 1
    line = capsys.readouterr().out
    assert line.startswith("Epoch 1/1 - ")
    assert "val_kid: " in line
    assert gen(np.zeros((1, 64))).shape == (1, 64)


@pytest.mark.slow
def test_tensorboard_of_keras_writes_scalars(images, tmp_path):
    pytest.importorskip("tensorboard", reason="Keras's TensorBoard callback needs TensorFlow and TensorBoard")
    gan = mulligan.keras.GAN(models.small_generator(), models.small_discriminator())
    gan.fit(images, epochs=1, callbacks=[keras.callbacks.TensorBoard(tmp_path)], verbose=0)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_bad_arguments_are_told(images):
    gan = mulligan.keras.GAN(models.small_generator(), models.small_discriminator())
    with pytest.raises(UsageError, match="a GAN has no 'optimizer' to compile; it has"):
        gan.compile(optimizer="adam")
    with pytest.raises(UsageError, match="must be 1 or more, not 0 and 64"):
        gan.fit(images, epochs=0)
