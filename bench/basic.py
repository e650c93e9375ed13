"""Texts of any language as lists of what is counted: words, or characters where words are not spaced.

English goes through wer.py. The others get what the reference's basic normaliser does: lower case,
compatibility forms unified (NFKC), brackets and what they hold removed, every mark, symbol and
punctuation a space, diacritics kept. Chinese is mapped to simplified characters first, for the models
write whichever script they please and the references hold one.
"""

import re
import subprocess
import unicodedata

import wer

BY_CHARACTER = {"zh", "yue", "wuu", "ja", "ko", "th"}
HAN = {"zh", "yue", "wuu"}
UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")

simplified = {}  # character: its simplified form; filled as characters are met


def simplify(text):
    new = sorted({c for c in text if "\u3400" <= c <= "\u9fff" and c not in simplified})
    if new:
        done = subprocess.run(["opencc", "-c", "t2s.json"], input="\n".join(new) + "\n", text=True,
                              capture_output=True, check=True)
        simplified.update(zip(new, done.stdout.split("\n")))
    return "".join(simplified.get(c, c) for c in text)


def plain(text):
    text = re.sub(r"[<\[][^>\]]*[>\]]", "", text.lower())
    text = re.sub(r"\([^)]+?\)", "", text)
    text = "".join(" " if unicodedata.category(c)[0] in "MSP" else c for c in unicodedata.normalize("NFKC", text))
    return text.lower()


def tokens(text, language):
    """What is counted of a text. A text in several languages ("auto"): words, and characters of the
    scripts that do not space them."""
    if language == "en":
        return wer.normalise(text)
    text = plain(text)
    if language in HAN or language == "auto":
        text = simplify(text)
    if language in BY_CHARACTER:
        return [c for c in text if not c.isspace()]
    if language == "auto":
        text = UNSPACED.sub(lambda m: f" {m[0]} ", text)
    return text.split()


CHECKS = [
    ("Ça va, l’été [bruit] (rires)?", "fr", "ça va l été"),
    ("Voilà: 20 % ①", "fr", "voilà 20 1"),
    ("ｶﾞ、テスト。", "ja", "ガ テ ス ト"),
    ("한국어 말", "ko", "한 국 어 말"),
    ("«Да», — ЙЁ", "ru", "да йё"),
    ("ok 你好 bien", "auto", "ok 你 好 bien"),
    ("It's 20", "en", "it is 20"),
]


def self_test():
    bad = [(t, want, got) for t, lang, want in CHECKS if (got := " ".join(tokens(t, lang))) != want]
    for text, want, got in bad:
        print(f"{text!r}: {got!r}, not {want!r}")
    return not bad
