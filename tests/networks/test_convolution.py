import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.networks.convolution import LOWERINGS, conv2d, conv2d_transpose, default_lowering, lowered

OTHERS = [name for name in LOWERINGS if name != "conv"]


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in shapes]


def close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), left, right)


def by_definition(x, kernel, stride):
    """The module's geometry, window by window, in float64."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    n, h, w, _ = x.shape
    kh, kw, _, co = kernel.shape
    out = np.zeros((n, -(-h // stride), -(-w // stride), co))
    for i, j in np.ndindex(*out.shape[1:3]):
        for a, b in np.ndindex(kh, kw):
            row, column = i * stride - (kh - 1) // 2 + a, j * stride - (kw - 1) // 2 + b
            if 0 <= row < h and 0 <= column < w:
                out[:, i, j] += x[:, row, column] @ kernel[a, b]
    return out


@st.composite
def geometries(draw):
    """(k, stride, (h, w), ci, co)."""
    size, channels = st.integers(4, 9), st.integers(1, 3)
    k, stride = draw(st.sampled_from([3, 4, 5])), draw(st.sampled_from([1, 2]))
    return k, stride, (draw(size), draw(size)), draw(channels), draw(channels)


@settings(max_examples=6, deadline=None)
@given(geometries())
def test_conv2d_is_its_definition_in_every_lowering(geometry):
    k, stride, hw, ci, co = geometry
    x, kernel = arrays((2, *hw, ci), (k, k, ci, co))
    expected = by_definition(x, kernel, stride)
    for maps in jax.jit(lambda x, kernel: [conv2d(x, kernel, stride, name) for name in LOWERINGS])(x, kernel):
        close(maps, expected)


@settings(max_examples=6, deadline=None)
@given(geometries())
def test_transpose_is_the_adjoint_in_every_lowering(geometry):
    """The gradient of `<conv2d(u), x>` by `u` is the transpose of `x`."""
    k, stride, hw, ci, co = geometry
    u, kernel, x = arrays((2, *hw, co), (k, k, ci, co), (2, -(-hw[0] // stride), -(-hw[1] // stride), ci))

    @jax.jit
    def adjoint_and_transposes(u, kernel, x):
        adjoint = jax.grad(lambda u: jnp.vdot(conv2d(u, jnp.swapaxes(kernel, 2, 3), stride, "conv"), x))(u)
        return adjoint, [conv2d_transpose(x, kernel, stride, hw, name) for name in LOWERINGS]

    adjoint, transposes = adjoint_and_transposes(u, kernel, x)
    for maps in transposes:
        close(maps, adjoint)


@pytest.mark.parametrize("lowering", OTHERS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 4, 5])
def test_gradients_agree_between_lowerings(lowering, k, stride):
    h, w = 7, 6
    x, kernel = arrays((2, h, w, 3), (k, k, 3, 2))
    (back,) = arrays((k, k, 2, 3), seed=1)

    @jax.jit
    def gradients(x, kernel, back):
        def energy(x, kernel, back, name):
            maps = jnp.tanh(conv2d(x, kernel, stride, name))
            return jnp.sum(jnp.tanh(conv2d_transpose(maps, back, stride, (h, w), name)) ** 2)

        return [jax.grad(energy, argnums=(0, 1, 2))(x, kernel, back, name) for name in ("conv", lowering)]

    close(*gradients(x, kernel, back))


@pytest.mark.parametrize("lowering", OTHERS)
@pytest.mark.parametrize(
    ("k", "stride", "ci", "co"),
    [(4, 2, 3, 20), (4, 2, 20, 20), (3, 1, 20, 18), (3, 1, 3, 20), (4, 2, 20, 3), (3, 1, 20, 3)],
)
def test_every_form_has_every_derivative(lowering, k, stride, ci, co):
    """Narrow and wide, few taps and many: forward, twice, and of several kernels at once."""
    x, kernel, dx, dkernel = arrays((2, 6, 7, ci), (3, k, k, ci, co), (2, 6, 7, ci), (3, k, k, ci, co))

    @jax.jit
    def derivatives(x, kernel, dx, dkernel):
        def of(name, kernel, dkernel):
            energy = lambda x, kernel: jnp.sum(jnp.tanh(conv2d(x, kernel, stride, name) / 8))  # noqa: E731
            slopes = jax.grad(energy, (0, 1))
            forward = jax.jvp(energy, (x, kernel), (dx, dkernel))
            alone = jax.jvp(lambda kernel: energy(x, kernel), (kernel,), (dkernel,))
            penalty = jax.grad(lambda kernel: jnp.sum(slopes(x, kernel)[0] ** 2))(kernel)
            return forward, alone, slopes(x, kernel), penalty, jax.jvp(slopes, (x, kernel), (dx, dkernel))

        return [
            jax.vmap(lambda *kernels, name=name: of(name, *kernels))(kernel, dkernel) for name in ("conv", lowering)
        ]

    close(*derivatives(x, kernel, dx, dkernel))


def test_default_lowering_is_the_backends():
    assert default_lowering() == ("matmul" if jax.default_backend() == "cpu" else "conv")
    x, kernel = arrays((1, 8, 8, 2), (4, 4, 2, 2))
    primitives = str(jax.make_jaxpr(lambda x: conv2d(x, kernel, 2))(x))
    assert ("conv_general_dilated" in primitives) == (default_lowering() == "conv")


def test_a_lowering_can_be_chosen_for_what_is_traced_inside():
    x, kernel = arrays((1, 8, 8, 2), (4, 4, 2, 2))
    for name in LOWERINGS:
        with lowered(name):
            primitives = str(jax.make_jaxpr(lambda x: conv2d(x, kernel, 2))(x))
        assert ("conv_general_dilated" in primitives) == (name == "conv")
    test_default_lowering_is_the_backends()
