#!/usr/bin/env python3
"""Word error rate of English transcripts, after normalising what is only a way of writing.

usage: wer.py [-q] [-v] REF.tsv HYP.tsv
       wer.py --self-test

Both files have two columns, an id and a text, separated by a tab. Ids that only the hypotheses have
are left out (and counted on stderr); a reference without a hypothesis counts as all deleted. Prints a
line per id (rate, errors, words, id) and, last, the total: all errors over all reference words.
  -q  the total alone     -v  also the two normalised texts wherever they differ

Normalised: case, punctuation, diacritics, bracketed remarks, hesitations, contractions, titles,
numbers in words (to digits), money and per cent, British spelling (to American).
"""
import re
import sys
import unicodedata

# ---------------------------------------------------------------- words

FILLERS = set("uh um uhm hm hmm mm mmm mhm er erm".split())

CONTRACTED = {
    "won't": "will not", "can't": "can not", "cannot": "can not", "shan't": "shall not",
    "ain't": "aint", "let's": "let us", "y'all": "you all", "ma'am": "madam", "o'clock": "oclock",
    "'tis": "it is", "'twas": "it was", "'em": "them", "wanna": "want to", "gonna": "going to",
    "gotta": "got to", "gimme": "give me", "lemme": "let me", "imma": "i am going to",
    "coulda": "could have", "woulda": "would have", "shoulda": "should have", "kinda": "kind of",
}
ENDINGS = [("n't", " not"), ("'re", " are"), ("'ve", " have"), ("'ll", " will"), ("'m", " am"),
           ("'d", " would"), ("'s", " is")]

TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miss", "dr": "doctor", "st": "saint", "prof": "professor",
    "capt": "captain", "col": "colonel", "gen": "general", "gov": "governor", "hon": "honorable",
    "lt": "lieutenant", "sgt": "sergeant", "maj": "major", "rev": "reverend", "sen": "senator",
    "rep": "representative", "pres": "president", "jr": "junior", "sr": "senior", "esq": "esquire",
    "messrs": "messieurs", "vs": "versus", "etc": "et cetera", "ok": "okay", "mt": "mount",
}

# ---------------------------------------------------------------- British spelling

OUR = ("arb|ard|arm|behavi|cand|clam|col|demean|discol|dishon|enam|endeav|fav|ferv|flav|harb|hon|"
       "hum|lab|misdemean|neighb|od|parl|ranc|rig|rum|sav|savi|splend|succ|tum|val|vap|vig")
RE = "accout|calib|cent|fib|kilomet|lit|lust|manoeuv|meag|met|mit|och|reconnoit|sab|scept|sepulch|somb|spect|theat"
DOUBLED = ("cancel|carol|channel|chisel|counsel|dial|duel|enamel|equal|fuel|funnel|grovel|impanel|jewel|label|"
           "level|libel|marshal|marvel|model|panel|pedal|pencil|quarrel|ravel|revel|rival|shovel|shrivel|signal|"
           "snivel|spiral|total|towel|travel|tunnel|unravel|yodel")
# not from Greek -izein, so written with s everywhere
KEEP_ISE = set("""advert adv ar appra bra bru chast circumc compr comprom conc cru dem desp dev disgu
    enterpr exc exerc expert fra franch gu impec impr improv inc l lik likew merchand mo no otherw parad po porpo
    pra prac prec prem pr prom ra repr rev r superv surm surpr telev tort treat turquo upra upr v w clockw
    mayonna chem appr pleas""".split())
SPELLINGS = {
    "grey": "gray", "greyish": "grayish", "tyre": "tire", "tyres": "tires", "plough": "plow", "ploughed": "plowed",
    "ploughing": "plowing", "cheque": "check", "cheques": "checks", "programme": "program",
    "programmes": "programs", "defence": "defense", "offence": "offense", "offences": "offenses",
    "licence": "license", "licences": "licenses", "pretence": "pretense", "practise": "practice",
    "practised": "practiced", "practising": "practicing", "storey": "story", "storeys": "stories", "kerb": "curb",
    "pyjamas": "pajamas", "sceptic": "skeptic", "sceptical": "skeptical", "scepticism": "skepticism",
    "mould": "mold", "moulded": "molded", "moulding": "molding", "mouldy": "moldy", "smoulder": "smolder",
    "smouldering": "smoldering", "moustache": "mustache", "aluminium": "aluminum", "draught": "draft",
    "draughts": "drafts", "gaol": "jail", "gaoler": "jailer", "waggon": "wagon", "waggons": "wagons",
    "judgement": "judgment", "judgements": "judgments", "acknowledgement": "acknowledgment", "ageing": "aging",
    "axe": "ax", "cosy": "cozy", "enquire": "inquire", "enquired": "inquired", "enquiring": "inquiring",
    "enquiry": "inquiry", "enquiries": "inquiries", "fulfil": "fulfill", "fulfils": "fulfills",
    "fulfilment": "fulfillment", "enrol": "enroll", "enrolment": "enrollment", "instal": "install",
    "instalment": "installment", "instalments": "installments", "skilful": "skillful", "skilfully": "skillfully",
    "wilful": "willful", "wilfully": "willfully", "woollen": "woolen", "jewellery": "jewelry",
    "marvellous": "marvelous", "marvellously": "marvelously", "catalogue": "catalog", "catalogues": "catalogs",
    "catalogued": "cataloged", "dialogue": "dialog", "dialogues": "dialogs", "analogue": "analog",
    "mediaeval": "medieval", "encyclopaedia": "encyclopedia", "anaesthetic": "anesthetic",
    "paediatric": "pediatric", "oesophagus": "esophagus", "foetus": "fetus", "haemorrhage": "hemorrhage",
    "manoeuvre": "maneuver", "manoeuvres": "maneuvers", "manoeuvring": "maneuvering", "artefact": "artifact",
    "artefacts": "artifacts", "whisky": "whiskey", "speciality": "specialty", "sulphur": "sulfur",
    "connexion": "connection", "shew": "show", "shewn": "shown", "shewed": "showed", "analyse": "analyze",
    "analysed": "analyzed", "analysing": "analyzing", "paralyse": "paralyze", "paralysed": "paralyzed",
    "catalyse": "catalyze", "drily": "dryly", "snowplough": "snowplow", "despatch": "dispatch",
    "despatched": "dispatched", "gipsy": "gypsy", "gipsies": "gypsies", "phoney": "phony", "yoghurt": "yogurt",
    "learnt": "learned", "burnt": "burned", "spelt": "spelled", "dreamt": "dreamed", "leapt": "leaped",
    "humourous": "humorous",
}
_OUR = re.compile(rf"^((?:un)?(?:{OUR}))our(?=(?:s|ed|ing|ings|er|ers|able|ably|ful|fully|less|y|hood|hoods|ite|ites|"
                  r"ly|ist|ists|al|ally)?$)")
_RE = re.compile(rf"^((?:{RE}))re(s|d)?$")
_DOUBLED = re.compile(rf"^({DOUBLED})l(ed|ing|ings|er|ers|or|ors)$")
_ISE = re.compile(r"^(\w{2,})is(e|ed|es|er|ers|ing|ation|ations|able)$")


def american(word):
    if word in SPELLINGS:
        return SPELLINGS[word]
    word = _OUR.sub(r"\1or", word)
    word = _RE.sub(lambda m: m[1] + "er" + {"d": "ed", "s": "s", None: ""}[m[2]], word)
    word = _DOUBLED.sub(r"\1\2", word)
    m = _ISE.match(word)
    if m and m[1] not in KEEP_ISE and not m[1].endswith(("w", "ra", "no", "po", "ru")):
        word = m[1] + "iz" + m[2]
    return word


# ---------------------------------------------------------------- numbers

ONES = {w: i for i, w in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen".split())}
TENS = {w: 10 * i for i, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
TENS["fourty"] = 40
SCALES = {"hundred": 100, "thousand": 1000, "million": 10 ** 6, "billion": 10 ** 9, "trillion": 10 ** 12}
ORDINALS = {w: i for i, w in enumerate(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth".split(), 1)}
ORDINALS.update({w[:-1] + "ieth": n for w, n in TENS.items()})
ORDINAL_SCALES = {w + "th": n for w, n in SCALES.items()}
PLURALS = {w[:-1] + "ies": n for w, n in TENS.items()}


def ordinal(n):
    return f"{n}{'th' if n % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def read_number(words, i):
    """The longest number in words from words[i]: (text, words used), or None.

    Groups below a hundred are kept apart until a scale joins them, so that a year said in two halves
    (nineteen eighty-four) and a row of digits (two six eight) come out as they are written."""
    total = group = 0       # finished thousands; the hundreds being built
    pairs = []              # the parts below a hundred of the present group
    n, suffix, scaled, j = len(words), "", False, i
    last_scale = None

    def close():
        """The present group as a number, or None where its parts do not add up to one."""
        if len(pairs) > 1:
            return None
        return group + (pairs[0] if pairs else 0)

    while j < n:
        w = words[j]
        if w in ONES or w in TENS:
            v = ONES.get(w, TENS.get(w))
            if pairs and pairs[-1] >= 20 and pairs[-1] % 10 == 0 and 0 < v < 10:
                pairs[-1] += v
            elif pairs and (scaled or len(pairs) > 1 and pairs[-1] and max(pairs) > 9):
                break
            else:
                pairs.append(v)
        elif w == "oh" and pairs and j + 1 < n and words[j + 1] in ONES:
            pairs.append(0)
        elif w in SCALES and (pairs or group):
            v = SCALES[w]
            if len(pairs) > 1 or (last_scale is not None and v >= last_scale and v > 100):
                break
            if v == 100:
                if group or not pairs:
                    break
                group, pairs = pairs[0] * 100, []
            else:
                total, group, pairs, last_scale = total + (close() or 0) * v, 0, [], v
            scaled = True
        elif w == "and" and scaled and not pairs and j + 1 < n and (
                words[j + 1] in ONES or words[j + 1] in TENS or words[j + 1] in ORDINALS):
            pass
        elif w in ORDINALS and not (len(pairs) > 1):
            v = ORDINALS[w]
            if pairs and pairs[-1] >= 20 and pairs[-1] % 10 == 0 and v < 10:
                pairs[-1] += v
            elif pairs:
                break
            else:
                pairs.append(v)
            suffix, j = "th", j + 1
            break
        elif w in ORDINAL_SCALES and len(pairs) == 1 and not total:
            group, pairs, suffix, j = (group + pairs[0]) * ORDINAL_SCALES[w], [], "th", j + 1
            break
        elif w in PLURALS and len(pairs) <= 1 and not scaled:
            pairs.append(PLURALS[w])
            suffix, j = "s", j + 1
            break
        else:
            break
        j += 1
    if j == i:
        return None
    if len(pairs) > 1:                               # 19 84, 20 0 1, 2 6 8
        text = "".join(str(p) for p in pairs)
    else:
        text = str(total + (close() or 0))
    if suffix == "th":
        text = ordinal(int(text))
    elif suffix == "s":
        text += "s"
    elif j + 1 < n and words[j] == "point" and words[j + 1] in ONES:
        k, digits = j + 1, ""
        while k < n and (words[k] in ONES and ONES[words[k]] < 10 or words[k] == "oh"):
            digits += str(ONES.get(words[k], 0))
            k += 1
        text, j = f"{text}.{digits}", k
    return text, j - i


def numbers(words):
    out, i = [], 0
    while i < len(words):
        w = words[i]
        scale = words[i + 1] if i + 1 < len(words) else ""
        if re.fullmatch(r"\d+(\.\d+)?", w) and scale in SCALES and scale != "hundred":      # 2.5 million
            value = round(float(w) * SCALES[scale], 6)
            out.append(str(int(value)) if value == int(value) else str(value))
            i += 2
            continue
        got = read_number(words, i)
        if got:
            out.append(got[0])
            i += got[1]
        else:
            out.append(w)
            i += 1
    row = " ".join(out)                              # a row of digits is one number: 2 6 8 is 268
    row = re.sub(r"(?<!\S)\d(?: \d)+(?!\S)", lambda m: m[0].replace(" ", ""), row)
    return ["one" if w == "1" else w for w in row.split()]


# ---------------------------------------------------------------- the whole

SYMBOLS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "ð": "d", "þ": "th"}
MONEY = {"$": "dollars", "£": "pounds", "€": "euros", "¢": "cents"}


def plain(text):
    out = []
    for c in unicodedata.normalize("NFKD", text):
        kind = unicodedata.category(c)
        if c in SYMBOLS:
            out.append(SYMBOLS[c])
        elif c in ".'":
            out.append(c)
        elif kind != "Mn":
            out.append(" " if kind[0] in "MSPZC" else c)
    return "".join(out)


def normalise(text):
    s = text.lower()
    s = re.sub("[\u2018\u2019\u201b\u02bc`\u00b4]", "'", s)
    s = re.sub(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)|\*[^*]*\*", " ", s)
    s = re.sub(r"\s+'(?=(?:s|t|re|ve|ll|d|m)\b)", "'", s)
    s = re.sub(r"(?<=\d),(?=\d{3})", "", s)
    s = re.sub(r"([$£€¢])\s?(\d+(?:\.\d+)?)((?: (?:thousand|million|billion|trillion))?)",
               lambda m: f"{m[2]}{m[3]} {MONEY[m[1]]}", s)
    s = re.sub(r"(\d)\s?%", r"\1 percent", s).replace("per cent", "percent").replace("&", " and ")
    s = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", s)
    s = re.sub(r"\b(?:[a-z]\.){2,}", lambda m: m[0].replace(".", ""), s)      # u.s.a. is usa
    s = re.sub(r"(\d):(\d\d)\b", r"\1 \2", s)
    s = plain(s)
    s = re.sub(r"\.(?!\d)|(?<!\d)\.", " ", s)

    words = []
    for w in s.split():
        if w in CONTRACTED:
            words += CONTRACTED[w].split()
            continue
        w = w.strip("'") if not w.endswith("s'") else w[:-1].strip("'")
        if w in CONTRACTED:
            words += CONTRACTED[w].split()
            continue
        tail = ""
        for end, full in ENDINGS * 2:                # twice, for wouldn't've
            if w.endswith(end) and len(w) > len(end) and not re.fullmatch(r"\d+'s", w):
                w, tail = w[:-len(end)], full + tail
        words += (w.replace("'", "") + tail).split()
    words = [w for w in words if w not in FILLERS]
    words = [x for w in words for x in TITLES.get(w, w).split()]
    words = numbers(words)
    words = ["dollars" if w == "dollar" and i and words[i - 1] == "one" else w for i, w in enumerate(words)]
    return [american(w) for w in words]


def errors(ref, hyp):
    """The least (substitutions, deletions, insertions) that turn ref into hyp."""
    row = [(i, 0, 0, i) for i in range(len(hyp) + 1)]
    for r in ref:
        new = [(row[0][0] + 1, 0, row[0][2] + 1, 0)]
        for j, h in enumerate(hyp):
            if r == h:
                new.append(row[j])
                continue
            a, b, c = row[j], row[j + 1], new[j]
            if a[0] <= b[0] and a[0] <= c[0]:
                new.append((a[0] + 1, a[1] + 1, a[2], a[3]))
            elif b[0] <= c[0]:
                new.append((b[0] + 1, b[1], b[2] + 1, b[3]))
            else:
                new.append((c[0] + 1, c[1], c[2], c[3] + 1))
        row = new
    return row[-1][1:]


def read(path):
    table = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            key, _, text = line.rstrip("\n").partition("\t")
            if key:
                table[key] = text
    return table


CHECKS = [
    ("i 've tried it", "i have tried it"),
    ("Mr. Smith's dog won't go, y'know!", "mister smith is dog will not go yknow"),
    ("Two hundred and sixty-eight colours", "268 colors"),
    ("My favourite number is 268", "my favorite number is 268"),
    ("in nineteen eighty-four, twenty-first of May", "in 1984 21st of may"),
    ("the nineteen sixties", "the 1960s"), ("the 1960's", "the 1960s"),
    ("one thousand two hundred", "1200"), ("1,200", "1200"), ("two thousand and one", "2001"),
    ("one million three hundred thousand", "1300000"), ("1.3 million", "1300000"), ("three point one four", "3.14"),
    ("$2.5 million", "2500000 dollars"), ("twenty dollars", "20 dollars"), ("£20", "20 pounds"),
    ("50% and fifty per cent", "50 percent and 50 percent"), ("one of them", "one of them"), ("1 of them", "one of them"),
    ("[noise] Hmm, (laughs) the theatre", "the theater"), ("organise the travelling neighbours", "organize the traveling neighbors"),
    ("the U.S.A. at 5 p.m.", "the usa at 5 pm"), ("dial one two three", "dial 123"), ("dial 1-2-3", "dial 123"),
    ("café naïve", "cafe naive"), ("the boys\u2019 house; it\u2019s", "the boys house it is"),
    ("surprised and otherwise wise, advertising", "surprised and otherwise wise advertising"),
    ("one hundredth, the third", "100th the 3rd"), ("twenty thirty", "2030"), ("a hundred men", "a hundred men"),
    ("ten o'clock", "10 oclock"), ("10 o'clock", "10 oclock"), ("the second", "the 2nd"), ("two", "2"),
    ("sixteen hundred", "1600"), ("nineteen oh five", "1905"), ("seventy five thousand and twelve", "75012"),
]


def main():
    args = sys.argv[1:]
    if args == ["--self-test"]:
        bad = [(t, w, " ".join(normalise(t))) for t, w in CHECKS if " ".join(normalise(t)) != w]
        for t, want, got in bad:
            print(f"{t!r}: {got!r}, not {want!r}")
        assert errors("a b c d".split(), "a x c d e".split()) == (1, 0, 1)
        assert errors("a b c".split(), []) == (0, 3, 0)
        sys.exit(bool(bad))
    quiet, verbose = "-q" in args, "-v" in args
    paths = [a for a in args if a not in ("-q", "-v")]
    if len(paths) != 2:
        sys.exit(__doc__)
    refs, hyps = read(paths[0]), read(paths[1])
    extra = len(hyps.keys() - refs.keys())
    if extra:
        print(f"{extra} hypotheses without a reference left out", file=sys.stderr)
    totals, count = [0, 0, 0], 0
    for key, text in refs.items():
        ref, hyp = normalise(text), normalise(hyps.get(key, ""))
        e = errors(ref, hyp)
        totals = [a + b for a, b in zip(totals, e)]
        count += len(ref)
        if not quiet:
            rate = f"{100 * sum(e) / len(ref):6.2f}%" if ref else "     -%"
            print(f"{rate}\t{sum(e)}\t{len(ref)}\t{key}")
        if verbose and sum(e):
            print(f"\tref: {' '.join(ref)}\n\thyp: {' '.join(hyp)}")
    rate = 100 * sum(totals) / count if count else 0.0
    print(f"WER {rate:.2f}%  errors {sum(totals)} (substituted {totals[0]}, deleted {totals[1]}, "
          f"inserted {totals[2]})  words {count}  files {len(refs)}")


if __name__ == "__main__":
    main()
