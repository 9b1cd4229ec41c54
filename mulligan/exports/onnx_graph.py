"""A generator as an ONNX model: latents in, images 0 to 255 out, any batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.errors import optional_import
from mulligan.exports.drawing import draw
from mulligan.exports.target import Shape
from mulligan.networks.layers import SLOPE
from mulligan.networks.mixture import BELOW_1, FINENESS, LARGEST, SHIFT, UPPER, multipliers
from mulligan.networks.normalisation import EPSILON
from mulligan.training.generator import Generator

OPSET, IR_VERSION = 18, 8  # of 2022 and older: what runtimes in use today read
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
GELU = (2 / np.pi) ** 0.5, 0.044715  # as in `keras_layers`


class Value(NamedTuple):
    """A tensor of the graph: its name, and its shape with a batch of None."""

    name: str
    shape: tuple[int | None, ...]


def import_onnx() -> Any:
    """The `onnx` package.

    Raises:
      MulliganError: it is not installed.
    """
    with optional_import("onnx", "an ONNX file", "onnx"):
        import onnx
    return onnx


def onnx_model(generator: Generator) -> Any:
    """An ONNX model from `latents` `[n, d]` (and `labels`, int64 `[n]`) to `images`, float32 `[n, h, w, c]`, 0 to 255.

    Raises:
      MulliganError: onnx is not installed, or the generator is not made of mulligan's own layers.
    """
    onnx = import_onnx()
    graph = OnnxGraph(onnx)
    inputs = [onnx.helper.make_tensor_value_info("latents", onnx.TensorProto.FLOAT, ["n", generator.latent])]
    labels = None
    if generator.classes:
        inputs.append(onnx.helper.make_tensor_value_info("labels", onnx.TensorProto.INT64, ["n"]))
        labels = Value("labels", (None,))
    pixels = draw(graph, generator.network, Value("latents", (None, generator.latent)), labels)
    graph.finish(graph.scaled(pixels, 127.5, 127.5), "images")
    output = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", *generator.shape])
    made = onnx.helper.make_graph(graph.nodes, "generator", inputs, [output], graph.constants)
    model = onnx.helper.make_model(
        made, opset_imports=[onnx.helper.make_opsetid("", OPSET)], producer_name="mulligan", ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class OnnxGraph:
    """A `Target` of ONNX nodes. Maps have their channels last, and are turned around where ONNX wants them first."""

    def __init__(self, onnx: Any):
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def dense(self, x: Value, weight: Float[np.ndarray, "i o"], bias: Float[np.ndarray, " o"] | None) -> Value:
        y = self._node("MatMul", [x, self._constant(weight)], (*x.shape[:-1], weight.shape[1]))
        return y if bias is None else self.add_constant(y, bias)

    def conv(self, x: Value, kernel: Float[np.ndarray, "k k ci co"], bias: Float[np.ndarray, " co"] | None) -> Value:
        before = (kernel.shape[0] - 1) // 2
        behind = kernel.shape[0] - 1 - before
        inputs = [self._channels_first(x), self._constant(kernel.transpose(3, 2, 0, 1))]
        inputs += [] if bias is None else [self._constant(bias)]
        _, rows, columns, _ = x.shape
        y = self._node("Conv", inputs, (None, kernel.shape[3], rows, columns), pads=[before, before, behind, behind])
        return self._channels_last(y)

    def conv_transpose(
        self,
        x: Value,
        kernel: Float[np.ndarray, "k k ci co"],
        bias: Float[np.ndarray, " co"] | None,
        crops: Sequence[tuple[int, int]],
    ) -> Value:
        (top, bottom), (left, right) = crops
        inputs = [self._channels_first(x), self._constant(kernel.transpose(2, 3, 0, 1))]
        inputs += [] if bias is None else [self._constant(bias)]
        sides = zip(_known(x.shape[1:3]), crops, strict=True)
        out = [2 * (size - 1) + kernel.shape[0] - sum(crop) for size, crop in sides]
        y = self._node(
            "ConvTranspose",
            inputs,
            (None, kernel.shape[3], *out),
            strides=[2, 2],
            pads=[top, left, bottom, right],
        )
        return self._channels_last(y)

    def enlarge(self, x: Value, name: str, crop: tuple[int, int]) -> Value:
        rows, columns = (2 * size for size in _known(x.shape[1:3]))
        how: dict[str, Any] = {
            "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        }[name]
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        inputs = [self._channels_first(x), Value("", ()), scales]
        y = self._channels_last(self._node("Resize", inputs, (None, x.shape[3], rows, columns), **how))
        if not any(crop):
            return y
        kept = [rows - crop[0], columns - crop[1]]
        ends = [self._integers(numbers) for numbers in ([0, 0], kept, [1, 2])]
        return self._node("Slice", [y, *ends], (None, *kept, x.shape[3]))

    def reshape(self, x: Value, shape: Shape) -> Value:
        return self._node("Reshape", [x, self._integers([-1, *shape])], (None, *shape))

    def add_constant(self, x: Value, constant: Float[np.ndarray, "..."]) -> Value:
        return self._node("Add", [x, self._constant(constant)], x.shape)

    def spread(self, x: Value, maps: Float[np.ndarray, "h w c"]) -> Value:
        return self._node("Mul", [self.reshape(x, (1, 1, maps.shape[2])), self._constant(maps)], (None, *maps.shape))

    def activate(self, x: Value, name: str) -> Value:
        match name:
            case "leaky_relu":
                return self._node("LeakyRelu", [x], x.shape, alpha=SLOPE)
            case "silu":
                return self._product(x, self._node("Sigmoid", [x], x.shape))
            case "gelu":
                scale, cubic = GELU
                cube = self._product(self._product(x, x), x)
                inner = self.scaled(self.add(x, self.scaled(cube, cubic)), scale)
                return self._product(x, self.scaled(self.activate(inner, "tanh"), 0.5, 0.5))
        return self._node({"relu": "Relu", "elu": "Elu", "tanh": "Tanh"}[name], [x], x.shape)

    def pixel_norm(self, x: Value, channels: int) -> Value:
        del channels
        return self._product(x, self._inverse_root(self._product(x, x), [len(x.shape) - 1], EPSILON))

    def group_norm(self, x: Value, groups: int) -> Value:
        channels = _known(x.shape[-1:])[0]
        grouped = self.reshape(x, (int(np.prod(_known(x.shape[1:-1]))), groups, channels // groups))
        centred = self._node("Sub", [grouped, self._mean(grouped, [1, 3])], grouped.shape)
        scale = self._inverse_root(self._product(centred, centred), [1, 3], 1e-5)
        return self.reshape(self._product(centred, scale), tuple(_known(x.shape[1:])))

    def add(self, x: Value, y: Value) -> Value:
        return self._node("Add", [x, y], x.shape)

    def concatenate(self, x: Value, y: Value) -> Value:
        width = sum(_known((x.shape[-1], y.shape[-1])))
        return self._node("Concat", [x, y], (*x.shape[:-1], width), axis=-1)

    def attend(self, queries: Value, keys: Value, values: Value) -> Value:
        _, pixels, width = keys.shape
        turned = self._node("Transpose", [keys], (None, width, pixels), perm=[0, 2, 1])
        scores = self._node("MatMul", [queries, turned], (None, pixels, pixels))
        return self._node("MatMul", [self._node("Softmax", [scores], scores.shape, axis=-1), values], values.shape)

    def embed(self, labels: Value, vectors: Float[np.ndarray, "classes d"]) -> Value:
        return self._node("Gather", [self._constant(vectors), labels], (None, vectors.shape[1]), axis=0)

    def choose(self, latents: Value, images: Sequence[Value], shares: Float[np.ndarray, " k"]) -> Value:
        dimension = _known(latents.shape[1:])[0]
        bounds = [self._constant(np.float32(bound)) for bound in (-LARGEST, LARGEST)]
        parts = self.scaled(self._node("Clip", [latents, *bounds], latents.shape), FINENESS)
        whole = self._cast(parts, self.onnx.TensorProto.INT32)
        # One product: ONNX Runtime's own sum of integers does not wrap around.
        total = self._node("MatMul", [whole, self._constant(multipliers(dimension)[:, None])], (None, 1))
        upper = self._cast(self.scaled(self._share(total), UPPER), self.onnx.TensorProto.INT32)
        mixed = self._node("Add", [upper, self._constant(np.array(SHIFT, np.int32))], upper.shape)
        numbers = self.reshape(self._share(self._product(mixed, mixed)), (1, 1, 1))
        chosen = images[0]
        for share, image in zip(shares, images[1:], strict=False):
            reached = self._node("GreaterOrEqual", [numbers, self._constant(np.float32(share))], numbers.shape)
            chosen = self._node("Where", [reached, image, chosen], chosen.shape)
        return chosen

    def _share(self, total: Value) -> Value:
        """As `networks.mixture` does it."""
        share = self.scaled(self._cast(total, self.onnx.TensorProto.FLOAT), 2.0**-32, 0.5)
        return self._node("Min", [share, self._constant(np.float32(BELOW_1))], share.shape)

    def _cast(self, x: Value, to: int) -> Value:
        return self._node("Cast", [x], x.shape, to=to)

    def scaled(self, x: Value, scale: float, offset: float = 0.0) -> Value:
        """`scale x + offset`."""
        y = self._product(x, self._constant(np.float32(scale)))
        return self.add_constant(y, np.array(offset, np.float32)) if offset else y

    def finish(self, x: Value, name: str) -> None:
        """Gives the result its name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [x.name], [name]))

    def _node(self, kind: str, inputs: Sequence[Value], shape: tuple[int | None, ...], **attributes: Any) -> Value:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, [one.name for one in inputs], [name], name, **attributes))
        return Value(name, tuple(shape))

    def _constant(self, array: Any) -> Value:
        values = np.ascontiguousarray(array)
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(values.reshape(np.shape(array)), name))
        return Value(name, values.shape)

    def _integers(self, numbers: Sequence[int]) -> Value:
        return self._constant(np.array(numbers, np.int64))

    def _product(self, x: Value, y: Value) -> Value:
        return self._node("Mul", [x, y], x.shape)

    def _mean(self, x: Value, axes: Sequence[int]) -> Value:
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self._node("ReduceMean", [x, self._integers(axes)], kept, keepdims=1)

    def _inverse_root(self, squares: Value, axes: Sequence[int], epsilon: float) -> Value:
        """`1 / sqrt(mean(squares) + epsilon)`."""
        mean = self.add_constant(self._mean(squares, axes), np.array(epsilon, np.float32))
        return self._node("Reciprocal", [self._node("Sqrt", [mean], mean.shape)], mean.shape)

    def _channels_first(self, x: Value) -> Value:
        return self._node("Transpose", [x], _turned(x.shape, TO_CHANNELS_FIRST), perm=TO_CHANNELS_FIRST)

    def _channels_last(self, x: Value) -> Value:
        return self._node("Transpose", [x], _turned(x.shape, TO_CHANNELS_LAST), perm=TO_CHANNELS_LAST)


def _turned(shape: tuple[int | None, ...], order: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(shape[axis] for axis in order)


def _known(shape: Sequence[int | None]) -> list[int]:
    """Sizes that are fixed, as all but the batch are."""
    return [size for size in shape if size is not None]
