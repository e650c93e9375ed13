"""A model file of a published model's shape with weights drawn at random: it hears nothing, but takes as long.

    generate_model.py SHAPE VOCABULARY.bin OUT.bin

SHAPE is medium, large-v3 or large-v3-turbo; the vocabulary comes from any multilingual ggml file. Needs numpy.
"""

import os
import sys
from pathlib import Path

import ggml

# state, heads, encoder layers, decoder layers, mels, tokens
SHAPES = {
    "tiny": (384, 6, 4, 4, 80, 51865),
    "medium": (1024, 16, 24, 24, 80, 51865),
    "large-v3": (1280, 20, 32, 32, 128, 51866),
    "large-v3-turbo": (1280, 20, 32, 4, 128, 51866),
}


def config_of(shape):
    state, heads, encoder, decoder, mels, vocabulary = SHAPES[shape]
    return {"n_vocab": vocabulary, "n_audio_ctx": 1500, "n_audio_state": state, "n_audio_head": heads,
            "n_audio_layer": encoder, "n_text_ctx": 448, "n_text_state": state, "n_text_head": heads,
            "n_text_layer": decoder, "n_mels": mels, "ftype": ggml.F16}


def mel_filters(mels, rate=16000, samples=400):
    """Triangles on Slaney's scale of mels (linear below 1 kHz, logarithmic above), each of area 1."""
    import numpy
    step = numpy.log(6.4) / 27
    greatest = 15 + numpy.log(rate / 2 / 1000) / step
    points = numpy.linspace(0, greatest, mels + 2)
    hertz = numpy.where(points < 15, points * 200 / 3, 1000 * numpy.exp(step * (points - 15)))
    bins = numpy.fft.rfftfreq(samples, 1 / rate)
    rising = (bins - hertz[:-2, None]) / numpy.diff(hertz)[:-1, None]
    falling = (hertz[2:, None] - bins) / numpy.diff(hertz)[1:, None]
    weights = numpy.maximum(0, numpy.minimum(rising, falling))
    return (weights * (2 / (hertz[2:] - hertz[:-2]))[:, None]).astype("<f4")


def values(random, name, shape, half):
    """Norms that change nothing, and layers that keep the scale of what passes."""
    import numpy
    if name.endswith(".weight") and ("_ln." in name or "ln_post" in name or name == "decoder.ln.weight"):
        return numpy.ones(shape, numpy.float32)
    if name.endswith(".bias"):
        return numpy.zeros(shape, numpy.float32)
    inputs = int(numpy.prod(shape[1:]))
    scale = 0.02 if "embedding" in name else 0.5 / inputs ** 0.5
    array = random.standard_normal(shape, numpy.float32) * numpy.float32(scale)
    return array.astype(numpy.float16) if half else array


def generate(shape, vocabulary, out):
    import numpy
    config, source = config_of(shape), ggml.Ggml(vocabulary)
    if not source.multilingual:
        sys.exit(f"{vocabulary}: a multilingual model is needed for its vocabulary")
    part = Path(out).with_suffix(f".{os.getpid()}.part")
    random = numpy.random.default_rng(1)
    with open(part, "wb") as file:
        ggml.write_head(file, config, mel_filters(config["n_mels"]).tobytes(), source.tokens)
        for name, dimensions, half in ggml.shapes(config):
            ggml.write_tensor(file, name, values(random, name, dimensions, half))
    os.replace(part, out)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    generate(*sys.argv[1:])
