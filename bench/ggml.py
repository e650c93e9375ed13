"""Whisper models in ggml files: dimensions, filters, vocabulary, tensors; read and written.

Everything but the tensors' values is read without numpy.
"""

import struct
from pathlib import Path

MAGIC = 0x67676D6C
FIELDS = ("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
          "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels", "ftype")
F32, F16 = 0, 1
BINS = 201


class Ggml:
    """The head of a file; where its tensors begin."""

    def __init__(self, path):
        self.path = Path(path)
        with open(self.path, "rb") as file:
            self.read_head(file)
            self.tensors_at = file.tell()

    def read_head(self, file):
        magic, *values = numbers(file, 1 + len(FIELDS))
        if magic != MAGIC:
            raise SystemExit(f"{self.path}: not a Whisper model in ggml format")
        self.config = dict(zip(FIELDS, values))
        rows, bins = numbers(file, 2)
        self.filters = file.read(4 * rows * bins)
        self.tokens = [file.read(numbers(file, 1)[0]) for _ in range(numbers(file, 1)[0])]

    @property
    def multilingual(self):
        return self.config["n_vocab"] >= 51865

    def special(self):
        """Ids of the tokens that are no text."""
        end = 50257 if self.multilingual else 50256
        languages = self.config["n_vocab"] - 51865 + 99 if self.multilingual else 99
        names = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
        ids = {name: end + 2 + languages + i for i, name in enumerate(names)}
        return {"endoftext": end, "startoftranscript": end + 1, "languages": range(end + 2, end + 2 + languages),
                **ids, "times": ids["notimestamps"] + 1}

    def tensors(self):
        """Names and arrays, in the order of the file; f32 and f16 only."""
        import numpy
        with open(self.path, "rb") as file:
            file.seek(self.tensors_at)
            while head := file.read(12):
                n_dims, length, kind = struct.unpack("<3i", head)
                shape = numbers(file, n_dims)[::-1]
                name = file.read(length).decode()
                if kind not in (F32, F16):
                    raise SystemExit(f"{self.path}: {name} is quantised: an f16 file is needed")
                array = numpy.fromfile(file, "<f4" if kind == F32 else "<f2", int(numpy.prod(shape)))
                yield name, array.reshape(shape)


def numbers(file, count):
    return struct.unpack(f"<{count}i", file.read(4 * count))


def write_head(file, config, filters, tokens):
    file.write(struct.pack(f"<{1 + len(FIELDS)}i", MAGIC, *(config[f] for f in FIELDS)))
    file.write(struct.pack("<2i", config["n_mels"], BINS) + filters)
    file.write(struct.pack("<i", len(tokens)))
    for token in tokens:
        file.write(struct.pack("<i", len(token)) + token)


def write_tensor(file, name, array):
    """f16 as it is; anything else as f32."""
    half = array.dtype.itemsize == 2
    file.write(struct.pack("<3i", array.ndim, len(name), F16 if half else F32))
    file.write(struct.pack(f"<{array.ndim}i", *array.shape[::-1]) + name.encode())
    file.write(array.astype("<f2" if half else "<f4", copy=False).tobytes())


def shapes(config):
    """Every tensor of a model of these dimensions: name, shape, whether it is stored in f16."""
    audio, text, mels = config["n_audio_state"], config["n_text_state"], config["n_mels"]
    yield "encoder.positional_embedding", (config["n_audio_ctx"], audio), False
    for name, inputs in (("conv1", mels), ("conv2", audio)):
        yield f"encoder.{name}.weight", (audio, inputs, 3), True
        yield f"encoder.{name}.bias", (audio, 1), False
    for layer in range(config["n_audio_layer"]):
        yield from block(f"encoder.blocks.{layer}", audio, ("attn",))
    yield from norm("encoder.ln_post", audio)
    yield "decoder.positional_embedding", (config["n_text_ctx"], text), False
    yield "decoder.token_embedding.weight", (config["n_vocab"], text), True
    for layer in range(config["n_text_layer"]):
        yield from block(f"decoder.blocks.{layer}", text, ("attn", "cross_attn"))
    yield from norm("decoder.ln", text)


def block(prefix, state, attentions):
    for attention in attentions:
        yield from norm(f"{prefix}.{attention}_ln", state)
        for part in ("query", "key", "value", "out"):
            yield from linear(f"{prefix}.{attention}.{part}", state, state, part != "key")
    yield from norm(f"{prefix}.mlp_ln", state)
    yield from linear(f"{prefix}.mlp.0", 4 * state, state)
    yield from linear(f"{prefix}.mlp.2", state, 4 * state)


def linear(name, outputs, inputs, bias=True):
    yield f"{name}.weight", (outputs, inputs), True
    if bias:
        yield f"{name}.bias", (outputs,), False


def norm(name, state):
    yield f"{name}.weight", (state,), False
    yield f"{name}.bias", (state,), False
