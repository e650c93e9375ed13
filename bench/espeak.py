"""Speech whose word times are known: espeak-ng tells them as it makes the sound.

The library is called as in its speak_lib.h: with phoneme events asked for, every phoneme comes with the place
in the sound where it begins, so that a word ends where the silence after it, or the next word, begins.
"""

import array
import ctypes
import ctypes.util
import sys

RETRIEVAL, PHONEME_EVENTS, UTF8 = 1, 1, 1
END_OF_LIST, WORD, PHONEME = 0, 1, 7
SPEED = 1


class Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int),
                ("length", ctypes.c_int), ("audio_position_ms", ctypes.c_int), ("sample", ctypes.c_int),
                ("user", ctypes.c_void_p), ("id", Id)]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


class Voice:
    """The library keeps one state for the process, so there is one of these at a time."""

    def __init__(self):
        name = ctypes.util.find_library("espeak-ng")
        if not name:
            sys.exit("espeak-ng's library is not here: install espeak-ng")
        self.library = ctypes.CDLL(name)
        self.rate = self.library.espeak_Initialize(RETRIEVAL, 0, None, PHONEME_EVENTS)
        if self.rate < 0:
            sys.exit("espeak-ng would not start: install espeak-ng-data")

    def speak(self, voice, text, words_a_minute=160):
        """Samples, and (sample, kind, what) of every event: a word with its place in the text, a phoneme."""
        samples, events = array.array("h"), []

        def heard(block, count, event):
            if count > 0:
                samples.extend(block[:count])
            i = 0
            while event[i].type != END_OF_LIST:
                e = event[i]
                if e.type == WORD:
                    events.append((e.sample, "word", e.text_position - 1))
                elif e.type == PHONEME:
                    events.append((e.sample, "phoneme", e.id.string.decode("utf-8", "replace")))
                i += 1
            return 0

        callback = CALLBACK(heard)
        self.library.espeak_SetVoiceByName(voice.encode())
        self.library.espeak_SetParameter(SPEED, words_a_minute, 0)
        self.library.espeak_SetSynthCallback(callback)
        raw = text.encode()
        self.library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        return samples, events


def word_times(text, samples, events, rate):
    """(word, start, end) in seconds of the words between spaces of the text (ASCII). Left out are pairs that
    the voice speaks as one, such as "of the", for it does not tell where the second begins."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append({"word": word, "at": at})
        at += len(word)
    last = -1
    for sample, kind, what in sorted(events, key=lambda e: e[0]):
        if kind == "word":
            found = max((i for i, w in enumerate(words) if w["at"] <= what), default=-1)
            if found > last:  # at the end of a clause comes one that points back
                if last >= 0:
                    words[last].setdefault("end", sample)
                words[found]["start"], last = sample, found
        elif what.startswith("_") and last >= 0:
            words[last].setdefault("end", sample)
    words[last].setdefault("end", len(samples))
    return [(w["word"], w["start"] / rate, w["end"] / rate) for w, following in zip(words, [*words[1:], {"start": 0}])
            if "start" in w and "start" in following]
