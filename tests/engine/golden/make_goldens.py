#!/usr/bin/env python3
"""Make golden tensors for a Whisper engine: the reference model in numpy, in float64.

usage: make_goldens.py MODEL.bin AUDIO.wav OUTDIR [--gelu erf|tanh] [--full DIR]
                       [--frames N] [--mel-frames N]

MODEL.bin   a ggml Whisper file whose tensors are f32 or f16
AUDIO.wav   16 kHz, mono, 16-bit PCM, at most 30 s
            (ffmpeg -i IN -ac 1 -ar 16000 -c:a pcm_s16le -bitexact AUDIO.wav)
OUTDIR      receives index.tsv and data.bin (README.md says what is in them)

Needs Python 3.8 and numpy. Nothing here is tuned for speed; the point is that every step can be
read and that nothing is rounded on the way: the weights are widened to float64, everything is
computed in float64, and only what is written out is rounded to float32.
"""
import argparse
import math
import os
import struct
import wave

import numpy as np

RATE, N_FFT, HOP = 16000, 400, 160
WINDOW = 30 * RATE               # samples in one window
N_FRAMES = WINDOW // HOP         # 3000 mel frames in one window
EPS = 1e-5                       # layer norm


# ---------------------------------------------------------------- the model file

class Model:
    """Hyperparameters, mel filters, vocabulary and weights of one ggml Whisper file."""

    FIELDS = ("n_vocab n_audio_ctx n_audio_state n_audio_head n_audio_layer n_text_ctx "
              "n_text_state n_text_head n_text_layer n_mels ftype").split()

    def __init__(self, path):
        with open(path, "rb") as f:
            magic, *values = struct.unpack("<I11i", f.read(48))
            if magic != 0x67676D6C:
                raise SystemExit(f"{path}: not a ggml file")
            for field, value in zip(self.FIELDS, values):
                setattr(self, field, value)

            rows, cols = struct.unpack("<2i", f.read(8))
            self.filters = np.frombuffer(f.read(4 * rows * cols), "<f4").reshape(rows, cols)
            self.filters = self.filters.astype(np.float64)

            self.words = []
            for _ in range(struct.unpack("<i", f.read(4))[0]):
                self.words.append(f.read(struct.unpack("<I", f.read(4))[0]))

            self.w = {}
            while True:
                head = f.read(12)
                if not head:
                    break
                n_dims, name_len, kind = struct.unpack("<3i", head)
                dims = struct.unpack(f"<{n_dims}i", f.read(4 * n_dims))
                name = f.read(name_len).decode()
                if kind not in (0, 1):
                    raise SystemExit(f"{path}: {name} is quantised; give an f16 or f32 file")
                dtype = "<f2" if kind else "<f4"
                count = math.prod(dims)
                data = np.frombuffer(f.read(count * int(dtype[2])), dtype)
                # ggml lists the fastest-varying dimension first
                self.w[name] = data.reshape(dims[::-1]).astype(np.float64)

        self.multilingual = self.n_vocab >= 51865
        n_langs = self.n_vocab - 51765 - int(self.multilingual)
        self.eot = 50257 if self.multilingual else 50256
        self.sot = self.eot + 1
        self.lang0 = self.sot + 1
        self.n_langs = n_langs
        self.transcribe = self.lang0 + n_langs + 1 if self.multilingual else None
        after_langs = self.lang0 + n_langs       # translate, transcribe, startoflm, startofprev,
        self.no_speech = after_langs + 4         # nospeech, notimestamps, <|0.00|> …
        self.no_timestamps = after_langs + 5
        self.time0 = after_langs + 6


# ---------------------------------------------------------------- numerics

def erf(x):
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float64)


def gelu_erf(x):
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * x * (1.0 + 0.044715 * x * x)))


gelu = gelu_erf


def layer_norm(x, w, name):
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + EPS) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    y = x @ w[name + ".weight"].T
    return y + w[name + ".bias"].reshape(-1) if name + ".bias" in w else y


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def conv1d(x, w, name, stride):
    """x: [channels in, time]; kernel 3, padding 1."""
    kernel = w[name + ".weight"]                      # [out, in, 3]
    padded = np.pad(x, ((0, 0), (1, 1)))
    n = (padded.shape[1] - 3) // stride + 1
    y = sum(kernel[:, :, k] @ padded[:, k:k + stride * (n - 1) + 1:stride] for k in range(3))
    return y + w[name + ".bias"].reshape(-1, 1)


def attention(x, source, w, name, n_head, causal=False):
    q = linear(x, w, name + ".query")
    k = linear(source, w, name + ".key")
    v = linear(source, w, name + ".value")
    d = q.shape[1] // n_head
    out = np.empty_like(q)
    for h in range(n_head):
        cols = slice(h * d, (h + 1) * d)
        score = q[:, cols] @ k[:, cols].T / math.sqrt(d)
        if causal:
            score = np.where(np.tri(*score.shape, dtype=bool), score, -np.inf)
        out[:, cols] = softmax(score) @ v[:, cols]
    return linear(out, w, name + ".out")


# ---------------------------------------------------------------- the model

def log_mel(pcm, filters):
    """[frames, mels] of the audio followed by 30 s of zeros; the ceiling is over all of it."""
    audio = np.concatenate([pcm, np.zeros(WINDOW)])
    audio = np.pad(audio, N_FFT // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    n = (len(audio) - N_FFT) // HOP                   # the last frame is dropped
    frames = np.lib.stride_tricks.sliding_window_view(audio, N_FFT)[::HOP][:n]
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    spec = np.log10(np.maximum(power @ filters.T, 1e-10))
    spec = np.maximum(spec, spec.max() - 8.0)
    return (spec + 4.0) / 4.0


def encode(m, mel):
    """mel: [3000, n_mels]. Returns {name: [1500, state]} in the order of computation."""
    w, out = m.w, {}
    x = gelu(conv1d(mel.T, w, "encoder.conv1", 1))
    x = gelu(conv1d(x, w, "encoder.conv2", 2)).T
    x = x + w["encoder.positional_embedding"]
    out["stem"] = x
    for i in range(m.n_audio_layer):
        b = f"encoder.blocks.{i}"
        y = layer_norm(x, w, b + ".attn_ln")
        x = x + attention(y, y, w, b + ".attn", m.n_audio_head)
        y = layer_norm(x, w, b + ".mlp_ln")
        x = x + linear(gelu(linear(y, w, b + ".mlp.0")), w, b + ".mlp.2")
        out[f"block_{i}"] = x
    out["ln_post"] = layer_norm(x, w, "encoder.ln_post")
    return out


def decode(m, audio, tokens):
    """Logits [len(tokens), n_vocab] after each token of a sequence, from nothing cached."""
    w = m.w
    x = w["decoder.token_embedding.weight"][tokens] + w["decoder.positional_embedding"][:len(tokens)]
    for i in range(m.n_text_layer):
        b = f"decoder.blocks.{i}"
        y = layer_norm(x, w, b + ".attn_ln")
        x = x + attention(y, y, w, b + ".attn", m.n_text_head, causal=True)
        y = layer_norm(x, w, b + ".cross_attn_ln")
        x = x + attention(y, audio, w, b + ".cross_attn", m.n_text_head)
        y = layer_norm(x, w, b + ".mlp_ln")
        x = x + linear(gelu(linear(y, w, b + ".mlp.0")), w, b + ".mlp.2")
    return layer_norm(x, w, "decoder.ln") @ w["decoder.token_embedding.weight"].T


# ---------------------------------------------------------------- what is kept

def spread(n, content, count):
    """count indices of 0…n-1, most of them where the recording is, some at its end and after."""
    inner = count * 5 // 8
    edge = [content - 1, content, content + 1] if count > 16 else [content]
    picks = set(np.linspace(0, max(content - 2, 1), inner).astype(int)) | set(edge) | {n - 1}
    if count > 16:
        picks |= {1, 2, n - 2}
    k = 1
    while len(picks) < count:                         # fill up in the silence
        for i in np.linspace(content, n - 1, k + 2).astype(int)[1:-1]:
            if len(picks) < count:
                picks.add(int(i))
        k += 1
    return sorted(int(i) for i in picks if 0 <= i < n)[:count]


class Writer:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.index = open(os.path.join(folder, "index.tsv"), "w")
        self.data = open(os.path.join(folder, "data.bin"), "wb")

    def put(self, name, rows, values):
        """values: [len(rows), cols]; rows: which rows of the whole tensor they are."""
        values = np.atleast_2d(values).astype("<f4")
        assert len(rows) == len(values)
        print(name, *values.shape, ",".join(map(str, rows)), self.data.tell(), sep="\t", file=self.index)
        self.data.write(values.tobytes())


def main():
    global gelu
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("wav")
    p.add_argument("out")
    p.add_argument("--gelu", choices=("erf", "tanh"), default="erf")
    p.add_argument("--frames", type=int, default=6, help="encoder rows kept per tensor")
    p.add_argument("--mel-frames", type=int, default=48)
    p.add_argument("--full", help="also write every tensor whole, float32, one file each, here")
    p.add_argument("--max-tokens", type=int, default=100)
    a = p.parse_args()
    gelu = gelu_tanh if a.gelu == "tanh" else gelu_erf

    with wave.open(a.wav) as f:
        assert (f.getframerate(), f.getnchannels(), f.getsampwidth()) == (RATE, 1, 2), "16 kHz mono s16 only"
        pcm = np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float64) / 32768.0
    assert N_FFT < len(pcm) <= WINDOW

    m = Model(a.model)
    mel = log_mel(pcm, m.filters)[:N_FRAMES]
    states = encode(m, mel)
    audio = states["ln_post"]

    start = [m.sot] + ([m.lang0, m.transcribe] if m.multilingual else [])   # lang0 is English
    logits = decode(m, audio, start)
    plain = start + [m.no_timestamps]
    first_plain = decode(m, audio, plain)[-1]
    tokens, scores = [], []
    while len(tokens) < a.max_tokens:
        last = decode(m, audio, plain + tokens)[-1]
        tokens.append(int(last.argmax()))
        scores.append(last.max())
        if tokens[-1] == m.eot:
            break

    if a.full:
        os.makedirs(a.full, exist_ok=True)
        for name, t in [("mel", mel), *states.items(), ("logits", logits[-1:])]:
            t.astype("<f4").tofile(os.path.join(a.full, name + ".f32"))

    content = -(-len(pcm) // HOP)                     # frames that hold some of the recording
    out = Writer(a.out)
    rows = spread(N_FRAMES, content, a.mel_frames)
    out.put("mel", rows, mel[rows])
    rows = spread(m.n_audio_ctx, -(-content // 2), a.frames)
    for name, t in states.items():
        out.put(name, rows, t[rows])
    out.put("sot_sequence", [0], start)
    out.put("logits", [len(start) - 1], logits[-1])
    out.put("no_speech", [0], softmax(logits[0])[m.no_speech])
    if m.multilingual:
        out.put("languages", [0], softmax(logits[0][m.lang0:m.lang0 + m.n_langs]))
    best = np.argsort(-first_plain)[:32]
    out.put("plain_top_ids", [len(plain) - 1], best)
    out.put("plain_top_logits", [len(plain) - 1], first_plain[best])
    out.put("greedy_ids", [0], tokens)
    out.put("greedy_logits", [0], scores)

    text = b"".join(m.words[t] for t in tokens if t < m.eot).decode(errors="replace")
    print(f"{a.out}: {text.strip()}")


if __name__ == "__main__":
    main()
