"""A ggml Whisper model as a CTranslate2 model folder, for measuring beside it.

    ct2_convert.py MODEL.bin FOLDER

model.bin is CTranslate2's binary format, version 6, of its WhisperSpec, revision 3, with the weights in f16 as
they were; CTranslate2 makes 8 bits of them when it loads them. Needs numpy.
"""

import json
import os
import struct
import sys
from pathlib import Path

import ggml

FORMAT, REVISION = 6, 3
TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
GELU = 3


def pair(tensors, source, names=("gamma", "beta")):
    return {names[0]: tensors[f"{source}.weight"], names[1]: tensors[f"{source}.bias"].reshape(-1)}


def joined(tensors, sources):
    """Several linear layers as one; a key has no bias, which is one of zeros."""
    import numpy
    weights = [tensors[f"{s}.weight"] for s in sources]
    biases = [tensors.get(f"{s}.bias", numpy.zeros(len(w), "<f4")) for s, w in zip(sources, weights)]
    return {"weight": numpy.concatenate(weights), "bias": numpy.concatenate(biases)}


def layer(tensors, source, cross):
    parts = {"self_attention/layer_norm": pair(tensors, f"{source}.attn_ln"),
             "self_attention/linear_0": joined(tensors, [f"{source}.attn.{p}" for p in ("query", "key", "value")]),
             "self_attention/linear_1": joined(tensors, [f"{source}.attn.out"]),
             "ffn/layer_norm": pair(tensors, f"{source}.mlp_ln"),
             "ffn/linear_0": joined(tensors, [f"{source}.mlp.0"]),
             "ffn/linear_1": joined(tensors, [f"{source}.mlp.2"])}
    if cross:
        parts |= {"attention/layer_norm": pair(tensors, f"{source}.cross_attn_ln"),
                  "attention/linear_0": joined(tensors, [f"{source}.cross_attn.query"]),
                  "attention/linear_1": joined(tensors, [f"{source}.cross_attn.{p}" for p in ("key", "value")]),
                  "attention/linear_2": joined(tensors, [f"{source}.cross_attn.out"])}
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


def variables(config, tensors):
    """CTranslate2's names and arrays."""
    import numpy
    small = numpy.int8
    out = {"encoder/num_heads": numpy.int16(config["n_audio_head"]),
           "encoder/position_encodings/encodings": tensors["encoder.positional_embedding"],
           "decoder/num_heads": numpy.int16(config["n_text_head"]), "decoder/activation": small(GELU),
           "decoder/pre_norm": small(1), "decoder/scale_embeddings": small(0), "decoder/alibi": small(0),
           "decoder/start_from_zero_embedding": small(0), "decoder/alignment_layer": numpy.int16(-1),
           "decoder/alignment_heads": numpy.int16(1),
           "decoder/embeddings/weight": tensors["decoder.token_embedding.weight"],
           "decoder/position_encodings/encodings": tensors["decoder.positional_embedding"]}
    parts = {"encoder/conv1": pair(tensors, "encoder.conv1", ("weight", "bias")),
             "encoder/conv2": pair(tensors, "encoder.conv2", ("weight", "bias")),
             "encoder/layer_norm": pair(tensors, "encoder.ln_post"),
             "decoder/layer_norm": pair(tensors, "decoder.ln")}
    for side, count in (("encoder", config["n_audio_layer"]), ("decoder", config["n_text_layer"])):
        for i in range(count):
            parts[f"{side}/layer_{i}"] = layer(tensors, f"{side}.blocks.{i}", side == "decoder")
    for part, arrays in parts.items():
        out |= {f"{part}/{name}": array for name, array in arrays.items()}
    return {name: numpy.asarray(value) for name, value in out.items()}


def string(text):
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def write_model(file, arrays, aliases):
    file.write(struct.pack("<I", FORMAT) + string("WhisperSpec") + struct.pack("<2I", REVISION, len(arrays)))
    for name, array in sorted(arrays.items()):
        file.write(string(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
        file.write(struct.pack("<BI", TYPES[array.dtype.name], array.nbytes) + array.tobytes())
    file.write(struct.pack("<I", len(aliases)))
    for name, what in aliases.items():
        file.write(string(name) + string(what))


def read_model(file):
    """What write_model wrote: arrays and aliases."""
    import numpy

    def take(form):
        return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))

    def take_string():
        return file.read(take("H")[0])[:-1].decode()

    assert take("I") == (FORMAT,) and take_string() == "WhisperSpec"
    _, count = take("2I")
    arrays, types = {}, {code: name for name, code in TYPES.items()}
    for _ in range(count):
        name, (rank,) = take_string(), take("B")
        shape = take(f"{rank}I")
        kind, size = take("BI")
        arrays[name] = numpy.frombuffer(file.read(size), types[kind]).reshape(shape)
    return arrays, {take_string(): take_string() for _ in range(take("I")[0])}


def letters():
    """GPT-2's letter for each byte, so that every token is a text."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return {**{b: chr(b) for b in shown}, **{b: chr(256 + i) for i, b in enumerate(hidden)}}


def vocabulary(model):
    """Tokens as CTranslate2 looks for them; languages are not told apart, for it gets ids."""
    special, letter = model.special(), letters()
    texts = ["".join(letter[b] for b in t) for t in model.tokens[:special["endoftext"]]]
    texts += [""] * (model.config["n_vocab"] - len(texts))
    for name, where in special.items():
        if name == "languages":
            for i, token in enumerate(where):
                texts[token] = f"<|language{i}|>"
        elif name == "times":
            for i in range(where, len(texts)):
                texts[i] = f"<|{(i - where) * 0.02:.2f}|>"
        else:
            texts[where] = f"<|{'nocaptions' if name == 'nospeech' else name}|>"
    return texts


SYMBOLS = (list("\"#()*+/:;<=>@[\\]^_`{|}~「」『』") +
           "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪".split())


def suppressed(model):
    """What OpenAI's decoder never says: annotations, music, and tokens that begin or mean other things."""
    ids = {token: i for i, token in reversed(list(enumerate(model.tokens)))}
    texts = [lead + s.encode() for s in SYMBOLS for lead in (b"", b" ")]
    texts += [b" -", b" '", b"\xe2\x99", b" \xe2\x99"]
    special = model.special()
    return sorted({ids[t] for t in texts if t in ids} |
                  {special[n] for n in ("translate", "transcribe", "startoflm", "startofprev", "startoftranscript")})


def convert(source, folder):
    model, folder = ggml.Ggml(source), Path(folder)
    arrays = variables(model.config, dict(model.tensors()))
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"model.{os.getpid()}.part"
    with open(part, "wb") as file:
        write_model(file, arrays, {"decoder/projection/weight": "decoder/embeddings/weight"})
    special = model.special()
    config = {"suppress_ids": suppressed(model), "lang_ids": list(special["languages"]),
              "suppress_ids_begin": [model.tokens.index(b" "), special["endoftext"]], "alignment_heads": []}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary(model)))
    os.replace(part, folder / "model.bin")


def self_test():
    import io
    try:
        import numpy
    except ImportError:
        print("numpy is not here")
        sys.exit(77)
    import generate_model
    filters = generate_model.mel_filters(80)
    assert filters.shape == (80, ggml.BINS) and abs(filters.max() - 0.02588068) < 1e-8  # as in the published files
    config = {**generate_model.config_of("tiny"), "n_audio_state": 8, "n_text_state": 8, "n_vocab": 16}
    tensors = {n: numpy.full(s, i, "<f2" if half else "<f4") for i, (n, s, half) in enumerate(ggml.shapes(config))}
    arrays, file = variables(config, tensors), io.BytesIO()
    write_model(file, arrays, {"a": "b"})
    file.seek(0)
    read, aliases = read_model(file)
    assert aliases == {"a": "b"} and read.keys() == arrays.keys() and not file.read()
    assert all((read[n] == a).all() and read[n].dtype == a.dtype for n, a in arrays.items())
    weight, bias = read["decoder/layer_3/attention/linear_1/weight"], read["decoder/layer_3/attention/linear_1/bias"]
    assert weight.shape == (16, 8) and bias.shape == (16,) and not bias[:8].any() and bias[8:].all()
    assert sum(a.size for a in arrays.values()) == sum(t.size for t in tensors.values()) + 4 * 8 + 8 * 8 + 9


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif len(sys.argv) == 3:
        convert(*sys.argv[1:])
    else:
        sys.exit(__doc__)
