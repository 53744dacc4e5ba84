"""Write engine/embed/granite.onnx, the bundled model's graph without its weights. Needs `onnx`; run once.

    python server/build_granite_graph.py            # write it
    python server/build_granite_graph.py --check    # exit 1 when the file in the tree is another

The weights are external initializers by name: the server feeds them from memory when it makes the session.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

from lakehouse.engine.embed.bundled import DIMENSION, GRAPH, GROUP, LAYERS, pack_path, read_pack

HEADS, EPSILON = 12, 1e-12
SHAPES = {"qkv": (1152, 384), "ao": (384, 384), "f1": (1536, 384), "f2": (384, 1536)}
MICROSOFT = {"domain": "com.microsoft"}


class Graph:
    """Nodes in order, and the few constants among them."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, kind: str, inputs: list[str], output: str, *others: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output, *others], **attributes))
        return output

    def constant(self, name: str, value: int | list[int]) -> str:
        self.initializers.append(onnx.numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def weight(self, name: str, array: np.ndarray) -> None:
        """A tensor by name, type and shape only; location and offset mean nothing, its length is checked."""
        tensor = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights"), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self.initializers.append(tensor)

    def linear(self, given: str, name: str) -> str:
        rows, columns = SHAPES[name.split(".")[1]]
        self.node(
            "MatMulNBits",
            [given, f"{name}.values", f"{name}.scales"],
            f"{name}.product",
            K=columns,
            N=rows,
            bits=8,
            block_size=GROUP,
            accuracy_level=4,
            **MICROSOFT,
        )
        return self.node("Add", [f"{name}.product", f"{name}.bias"], f"{name}.out")

    def norm(self, given: str, name: str) -> str:
        scale = [given, f"{name}.gain", f"{name}.bias"]
        return self.node("LayerNormalization", scale, f"{name}.out", epsilon=EPSILON, axis=-1)

    def embeddings(self) -> str:
        """Dequantised word vectors plus positions, normalised."""
        self.node("Gather", ["words", "input_ids"], "word.int8")
        self.node("Cast", ["word.int8"], "word.float", to=TensorProto.FLOAT)
        self.node("Gather", ["words.scales", "input_ids"], "word.scales")
        self.node("Mul", ["word.float", "word.scales"], "word.groups")
        self.node("Shape", ["input_ids"], "shape")
        self.node("Concat", ["shape", self.constant("width", [DIMENSION])], "shape.wide", axis=0)
        self.node("Reshape", ["word.groups", "shape.wide"], "word.vectors")
        self.node("Gather", ["shape", self.constant("one", [1])], "length")
        zero = self.constant("zero", [0])
        self.node("Slice", ["positions", zero, "length", zero], "position.vectors")
        self.node("Add", ["word.vectors", "position.vectors"], "embedded")
        return self.norm("embedded", "words.norm")

    def layer(self, x: str, p: str) -> str:
        """Attention, then the feed-forward part, each with its residual and norm."""
        heads = [f"{p}.q", f"{p}.k", f"{p}.v"]
        self.node("Split", [self.linear(x, f"{p}.qkv")], *heads, axis=-1, num_outputs=3)
        self.node("MultiHeadAttention", [*heads, "", "mask"], f"{p}.attended", num_heads=HEADS, **MICROSOFT)
        self.node("Add", [self.linear(f"{p}.attended", f"{p}.ao"), x], f"{p}.first")
        y = self.norm(f"{p}.first", f"{p}.aln")
        self.node("Gelu", [self.linear(y, f"{p}.f1")], f"{p}.gelu", **MICROSOFT)
        self.node("Add", [self.linear(f"{p}.gelu", f"{p}.f2"), y], f"{p}.second")
        return self.norm(f"{p}.second", f"{p}.fln")


def build() -> bytes:
    """The graph: token ids and their mask in, unit vectors of the first token out."""
    graph = Graph()
    x = graph.embeddings()
    graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for layer in range(LAYERS):
        x = graph.layer(x, f"l{layer}")
    graph.node("Gather", [x, graph.constant("first", 0)], "cls", axis=1)
    graph.node("LpNormalization", ["cls"], "embedding", axis=-1, p=2)
    for name, array in read_pack(pack_path())[1].items():
        graph.weight(name, array)
    tokens = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    vectors = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIMENSION])]
    whole = helper.make_graph(graph.nodes, "granite", tokens, vectors, graph.initializers)
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(whole, opset_imports=versions)
    model.ir_version = 9
    return model.SerializeToString(deterministic=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(GRAPH.read_bytes() != build())
    GRAPH.write_bytes(build())
