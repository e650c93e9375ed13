"""Markdown."""


def table(head, rows, numbers_from=1):
    """Columns from `numbers_from` on are aligned to the right."""
    lines = ["| " + " | ".join(head) + " |",
             "|" + "|".join("---" if i < numbers_from else "---:" for i in range(len(head))) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def percent(errors, count):
    return f"{100 * errors / count:.2f}" if count else "–"


def replace_part(document, name, text):
    """The document with what stands between the markers of a part replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, found, rest = document.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the document has no markers {begin.strip()} and {end}")
    return head + begin + "\n" + text.strip() + "\n\n" + end + tail
