"""CTranslate2 in 8 bits on a recording, in the way of faster-whisper's batched pipeline; prints one line of JSON.

    ct2.py MODEL.bin FOLDER [AUDIO.wav [--beam-size N] [--batch N] [--times]] [--threads N] [--compute-type TYPE]

MODEL.bin is the ggml file that ct2_convert.py made FOLDER of. Runs with a Python that has the packages ctranslate2
and numpy. The recording is cut every 30 s; features are computed with numpy, as faster-whisper does; windows are
decoded in batches, without timestamps, with its default options; --times lets the model write timestamps, with
which it ends fewer windows early. Its voice detector is left out. Not counted, in the favour of this side: Python's
start and the loading of the model ("load_s").
"""

import argparse
import json
import resource
import statistics
import time
import wave

import ggml
from ct2_convert import suppressed

RATE, FRAMES = 16000, 3000
WINDOW = 30 * RATE


def log_mel(samples, filters):
    """Whisper's features of one window, [mels][3000]."""
    import numpy
    padded = numpy.pad(numpy.pad(samples, (0, 160)), 200, mode="reflect")
    frames = numpy.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
    hann = numpy.hanning(401)[:-1].astype("float32")
    power = numpy.abs(numpy.fft.rfft(frames * hann).T[:, :-1].astype("complex64")) ** 2
    mel = numpy.log10(numpy.clip(filters @ power, 1e-10, None))
    mel = (numpy.maximum(mel, mel.max() - 8) + 4) / 4
    return numpy.pad(mel[:, :FRAMES], ((0, 0), (0, FRAMES - min(FRAMES, mel.shape[1]))))


def read(path):
    import numpy
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype("float32") / 32768


class Runner:
    def __init__(self, arguments):
        import ctranslate2
        import numpy
        self.view = ctranslate2.StorageView.from_array
        self.head = ggml.Ggml(arguments.model)
        start = time.monotonic()
        self.model = ctranslate2.models.Whisper(arguments.folder, device="cpu", inter_threads=1,
                                                compute_type=arguments.compute_type, intra_threads=arguments.threads)
        self.load = time.monotonic() - start
        self.version = ctranslate2.__version__
        self.filters = numpy.frombuffer(self.head.filters, "<f4").reshape(-1, ggml.BINS)
        special = self.head.special()
        self.end = special["endoftext"]
        language = [special["languages"][0], special["transcribe"]] if self.head.multilingual else []
        self.prompt = [special["startoftranscript"], *language,
                       *([] if arguments.times else [special["notimestamps"]])]
        self.unsaid = suppressed(self.head)

    def encoder_ms(self, runs=5):
        """Of one window of noise; without the decoder's keys and values of it, which come with the first token."""
        import numpy
        noise = numpy.random.default_rng(1).standard_normal(WINDOW, numpy.float32) * 0.1
        features = self.view(log_mel(noise, self.filters)[None].astype("float32"))
        seconds = []
        for _ in range(runs + 1):
            start = time.monotonic()
            self.model.encode(features, to_cpu=True)
            seconds.append(time.monotonic() - start)
        return statistics.median(seconds[1:]) * 1000

    def transcribe(self, samples, batch, beams):
        import numpy
        tokens = []
        windows = [log_mel(samples[at:at + WINDOW], self.filters) for at in range(0, len(samples), WINDOW)]
        for at in range(0, len(windows), batch):
            some = numpy.ascontiguousarray(numpy.stack(windows[at:at + batch]), dtype="float32")
            encoded = self.model.encode(self.view(some), to_cpu=False)
            results = self.model.generate(encoded, [self.prompt] * len(some), beam_size=beams, patience=1,
                                          length_penalty=1, repetition_penalty=1, no_repeat_ngram_size=0,
                                          max_length=448, suppress_blank=True, suppress_tokens=self.unsaid,
                                          return_scores=True, return_no_speech_prob=True, sampling_temperature=0)
            tokens += [r.sequences_ids[0] for r in results]
        texts = [b"".join(self.head.tokens[t] for t in some if t < self.end) for some in tokens]
        return " ".join(t.decode("utf-8", "replace").strip() for t in texts), sum(map(len, tokens))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("audio", nargs="?")
    parser.add_argument("--beam-size", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compute-type", default="int8")
    arguments = parser.parse_args()
    runner = Runner(arguments)
    answer = {"version": runner.version, "load_s": runner.load}
    if arguments.audio:
        start = time.monotonic()
        answer["text"], answer["tokens"] = runner.transcribe(read(arguments.audio), arguments.batch,
                                                             arguments.beam_size)
        answer["seconds"] = time.monotonic() - start
    else:
        answer["encoder_ms"] = runner.encoder_ms()
    answer["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answer, ensure_ascii=False))


if __name__ == "__main__":
    main()
