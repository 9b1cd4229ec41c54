"""A generator as an ONNX model: latents in, images 0 to 255 out, any batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.errors import optional_import
from mulligan.exports.drawing import draw
from mulligan.exports.target import Shape
from mulligan.networks.layers import SLOPE
from mulligan.networks.mixture import BELOW_1, FINENESS, LARGEST, SHIFT, UPPER, multipliers
from mulligan.networks.normalisation import EPSILON, GROUP_EPSILON
from mulligan.training.generator import Generator

OPSET, IR_VERSION = 18, 8  # of 2022 and older: what runtimes in use today read
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
GELU = (2 / np.pi) ** 0.5, 0.044715  # as in `keras_layers`


class Value(NamedTuple):
    """A tensor of the graph: its name, and the shape of one example, without the batch; a constant's is its own."""

    name: str
    shape: Shape


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
        labels = Value("labels", ())
    pixels = draw(graph, generator.network, Value("latents", (generator.latent,)), labels)
    drawn = graph.scaled(pixels, 127.5, 127.5)
    graph.nodes.append(onnx.helper.make_node("Identity", [drawn.name], ["images"]))
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
        return y if bias is None else self.add(y, bias)

    def conv(self, x: Value, kernel: Float[np.ndarray, "k k ci co"], bias: Float[np.ndarray, " co"] | None) -> Value:
        before = (kernel.shape[0] - 1) // 2
        behind = kernel.shape[0] - 1 - before
        inputs = [self._transposed(x, CHANNELS_FIRST), self._constant(kernel.transpose(3, 2, 0, 1))]
        inputs += [] if bias is None else [self._constant(bias)]
        y = self._node("Conv", inputs, (kernel.shape[3], *x.shape[:2]), pads=[before, before, behind, behind])
        return self._transposed(y, CHANNELS_LAST)

    def conv_transpose(
        self,
        x: Value,
        kernel: Float[np.ndarray, "k k ci co"],
        bias: Float[np.ndarray, " co"] | None,
        crops: Sequence[tuple[int, int]],
    ) -> Value:
        (top, bottom), (left, right) = crops
        inputs = [self._transposed(x, CHANNELS_FIRST), self._constant(kernel.transpose(2, 3, 0, 1))]
        inputs += [] if bias is None else [self._constant(bias)]
        sides = zip(x.shape[:2], crops, strict=True)
        out = [2 * (size - 1) + kernel.shape[0] - sum(crop) for size, crop in sides]
        # What ONNX calls pads of a transposed convolution are cropped from its outcome.
        pads = [top, left, bottom, right]
        y = self._node("ConvTranspose", inputs, (kernel.shape[3], *out), strides=[2, 2], pads=pads)
        return self._transposed(y, CHANNELS_LAST)

    def enlarge(self, x: Value, name: str, crop: tuple[int, int]) -> Value:
        rows, columns, channels = 2 * x.shape[0], 2 * x.shape[1], x.shape[2]
        how: dict[str, Any] = {
            "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
            "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
        }[name]
        scales = self._constant(np.array([1, 1, 2, 2], np.float32))
        inputs = [self._transposed(x, CHANNELS_FIRST), Value("", ()), scales]  # an empty name leaves out an input
        y = self._transposed(self._node("Resize", inputs, (channels, rows, columns), **how), CHANNELS_LAST)
        if not any(crop):
            return y
        kept = [rows - crop[0], columns - crop[1]]
        ends = [self._integers(numbers) for numbers in ([0, 0], kept, [1, 2])]
        return self._node("Slice", [y, *ends], (*kept, channels))

    def filter(self, x: Value, rows: Float[np.ndarray, "h h"], columns: Float[np.ndarray, "w w"]) -> Value:
        y = self._transposed(x, CHANNELS_FIRST)
        y = self._node("MatMul", [self._constant(rows), y], y.shape)
        y = self._node("MatMul", [y, self._constant(columns.T)], y.shape)
        return self._transposed(y, CHANNELS_LAST)

    def reshape(self, x: Value, shape: Shape) -> Value:
        return self._node("Reshape", [x, self._integers([-1, *shape])], shape)

    def add(self, x: Value, y: Value | Float[np.ndarray, "..."]) -> Value:
        return self._node("Add", [x, self._constant(y) if isinstance(y, np.ndarray) else y], x.shape)

    def spread(self, x: Value, maps: Float[np.ndarray, "h w c"]) -> Value:
        return self._node("Mul", [self.reshape(x, (1, 1, maps.shape[2])), self._constant(maps)], maps.shape)

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

    def normalise(self, x: Value, name: str) -> Value:
        if name == "pixel":
            return self._product(x, self._inverse_root_mean(self._product(x, x), [len(x.shape)], EPSILON))
        *pixels, channels = x.shape
        groups = math.gcd(channels, 8)
        grouped = self.reshape(x, (math.prod(pixels), groups, channels // groups))
        mean = self._node("ReduceMean", [grouped, self._integers([1, 3])], (1, groups, 1), keepdims=1)
        centred = self._node("Sub", [grouped, mean], grouped.shape)
        scale = self._inverse_root_mean(self._product(centred, centred), [1, 3], GROUP_EPSILON)
        return self.reshape(self._product(centred, scale), x.shape)

    def attend(self, queries: Value, keys: Value, values: Value) -> Value:
        pixels, _ = keys.shape
        scores = self._node("MatMul", [queries, self._transposed(keys, [0, 2, 1])], (pixels, pixels))
        return self._node("MatMul", [self._node("Softmax", [scores], scores.shape, axis=-1), values], values.shape)

    def append_class(self, latents: Value, labels: Value, vectors: Float[np.ndarray, "classes d"]) -> Value:
        own = self._node("Gather", [self._constant(vectors), labels], vectors.shape[1:], axis=0)
        return self._node("Concat", [latents, own], (latents.shape[0] + own.shape[0],), axis=-1)

    def choose(self, latents: Value, images: Sequence[Value], shares: Float[np.ndarray, " k"]) -> Value:
        kinds = self.onnx.TensorProto

        def share(total: Value) -> Value:
            whole = self._node("Cast", [total], total.shape, to=kinds.FLOAT)
            part = self.scaled(whole, 2.0**-32, 0.5)
            return self._node("Min", [part, self._constant(np.float32(BELOW_1))], part.shape)

        bounds = [self._constant(np.float32(bound)) for bound in (-LARGEST, LARGEST)]
        parts = self.scaled(self._node("Clip", [latents, *bounds], latents.shape), FINENESS)
        whole = self._node("Cast", [parts], parts.shape, to=kinds.INT32)
        # One product: ONNX Runtime's own sum of integers does not wrap around.
        total = self._node("MatMul", [whole, self._constant(multipliers(latents.shape[0])[:, None])], (1,))
        upper = self._node("Cast", [self.scaled(share(total), UPPER)], total.shape, to=kinds.INT32)
        mixed = self._node("Add", [upper, self._constant(np.array(SHIFT, np.int32))], upper.shape)
        numbers = self.reshape(share(self._product(mixed, mixed)), (1, 1, 1))
        chosen = images[0]
        for start, image in zip(shares, images[1:], strict=False):
            reached = self._node("GreaterOrEqual", [numbers, self._constant(np.float32(start))], numbers.shape)
            chosen = self._node("Where", [reached, image, chosen], chosen.shape)
        return chosen

    def scaled(self, x: Value, scale: float, offset: float = 0.0) -> Value:
        """`scale x + offset`."""
        y = self._product(x, self._constant(np.float32(scale)))
        return self.add(y, np.array(offset, np.float32)) if offset else y

    def _node(self, kind: str, inputs: Sequence[Value], shape: Sequence[int], **attributes: Any) -> Value:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, [one.name for one in inputs], [name], name, **attributes))
        return Value(name, tuple(shape))

    def _constant(self, array: Any) -> Value:
        values = np.ascontiguousarray(array)  # which makes a scalar an array of one
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(values.reshape(np.shape(array)), name))
        return Value(name, values.shape)

    def _integers(self, numbers: Sequence[int]) -> Value:
        return self._constant(np.array(numbers, np.int64))

    def _product(self, x: Value, y: Value) -> Value:
        return self._node("Mul", [x, y], x.shape)

    def _inverse_root_mean(self, squares: Value, axes: Sequence[int], epsilon: float) -> Value:
        """`1 / sqrt(mean(squares) + epsilon)` over axes, of which the batch is number 0."""
        kept = [1 if axis in axes else size for axis, size in enumerate(squares.shape, start=1)]
        mean = self._node("ReduceMean", [squares, self._integers(axes)], kept, keepdims=1)
        padded = self.add(mean, np.array(epsilon, np.float32))
        return self._node("Reciprocal", [self._node("Sqrt", [padded], kept)], kept)

    def _transposed(self, x: Value, order: list[int]) -> Value:
        """Axes in another order, of which the batch, number 0, stays where it is."""
        return self._node("Transpose", [x], [x.shape[axis - 1] for axis in order[1:]], perm=order)
