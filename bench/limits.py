"""What the machine can do at most, and the least time in which it could encode a window of a model.

The counted limit: the products and sums of the encoder's parts, each at the greatest rate at which all processors
were seen to do that kind from register to register, one after another. Linear layers (the decoder's keys and
values of what was heard among them) in 8 bits, attention in whole numbers of 16 bits or what else is faster, the
two convolutions in f32. Softmax, norms, GELU and all memory count as nothing.
"""

import ggml
from peers import MACHINE_LIMITS, run

KINDS = ("f32", "s16", "s8", "bf16", "memory_read", "cache_read")


def measure(threads):
    """machine-limits' figures: name to rate."""
    figures = {}
    for line in run([MACHINE_LIMITS, threads]).out.splitlines():
        name, value, unit = line.split("\t")
        figures[name] = value if unit == "name" else float(value)
    return figures


def best(several):
    """Of several measurements the greatest: a ceiling is what was reached when nobody was in the way."""
    return {name: max(s[name] for s in several) for name in several[0]}


def operations(config):
    """Products and sums of one window's encoder, by kind."""
    state, frames, layers = config["n_audio_state"], config["n_audio_ctx"], config["n_audio_layer"]
    cross = 2 * state * config["n_text_state"] * config["n_text_layer"]
    return {"linear": 2 * frames * (12 * state * state * layers + cross),
            "attention": 4 * frames * frames * state * layers,
            "stem": 2 * 3 * state * (2 * frames * config["n_mels"] + frames * state)}


def counted_ms(config, rates):
    """Milliseconds of each part."""
    fastest = {"linear": rates["s8_all"], "stem": rates["f32_all"],
               "attention": max(rates.get(f"{kind}_all", 0) for kind in ("s16", "bf16", "f32"))}
    return {part: count / fastest[part] / 1e6 for part, count in operations(config).items()}


def report(models, rates):
    """Tables of the ceilings and of each model's counted limit; the latter also as a dictionary."""
    print(f"### Limits of this machine (level {rates['level']})\n\n| | one thread | all | unit |\n|---|---:|---:|---|")
    for kind in KINDS:
        if f"{kind}_1" in rates:
            unit = "GB/s" if kind.endswith("read") else "G operations/s"
            print(f"| {kind.replace('_', ' ')} | {rates[kind + '_1']:.4g} | {rates[kind + '_all']:.4g} | {unit} |")
    print("\n### Counted limit of one 30 s window's encoder\n\n"
          "| model | linear, 8 bits | attention | stem, f32 | together |\n|---|---:|---:|---:|---:|")
    counted = {}
    for name, model in models.items():
        config = ggml.Ggml(model).config
        parts, counts = counted_ms(config, rates), operations(config)
        cells = [f"{counts[p] / 1e9:.1f} G: {parts[p]:.1f} ms" for p in ("linear", "attention", "stem")]
        counted[name] = sum(parts.values())
        print(f"| {name} | {' | '.join(cells)} | {counted[name]:.1f} ms |")
    print(flush=True)
    return counted


def self_test():
    tiny = {"n_audio_state": 384, "n_audio_ctx": 1500, "n_audio_layer": 4, "n_text_state": 384, "n_text_layer": 4,
            "n_mels": 80}
    counts = operations(tiny)
    assert counts == {"linear": 24772608000, "attention": 13824000000, "stem": 1880064000}, counts
    rates = {"s8_all": 1000.0, "s16_all": 500.0, "bf16_all": 250.0, "f32_all": 100.0}
    parts = counted_ms(tiny, rates)
    assert [round(parts[p], 2) for p in ("linear", "attention", "stem")] == [24.77, 27.65, 18.8], parts
    assert best([{"a": 1, "b": 5}, {"a": 3, "b": 2}]) == {"a": 3, "b": 5}


if __name__ == "__main__":
    self_test()
