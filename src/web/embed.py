#!/usr/bin/env python3
"""Write a C file that holds the files of the page: embed.py OUT.c FILE…

Each file is there twice, as it is and compressed; its ETag is a hash of its bytes, so a
browser asks again after every upgrade and never downloads what it has.
"""
import gzip
import hashlib
import os
import sys

TYPES = {
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def array(name, data):
    lines = [f"static const unsigned char {name}[] = {{"]
    for i in range(0, len(data), 20):
        lines.append(",".join(str(b) for b in data[i:i + 20]) + ",")
    lines.append("};")
    return "\n".join(lines)


def main():
    out, files = sys.argv[1], sys.argv[2:]
    arrays, rows = [], []
    for i, path in enumerate(files):
        with open(path, "rb") as f:
            data = f.read()
        packed = gzip.compress(data, 9, mtime=0)
        tag = hashlib.sha256(data).hexdigest()[:16]
        name = os.path.basename(path)
        kind = TYPES[os.path.splitext(name)[1]]
        arrays += [array(f"plain_{i}", data), array(f"packed_{i}", packed)]
        rows.append(f'    {{"{name}", "{kind}", "\\"{tag}\\"", plain_{i}, packed_{i}, '
                    f"{len(data)}, {len(packed)}}},")
    with open(out, "w", encoding="utf-8") as f:
        f.write('#include "web/assets.h"\n\n')
        f.write("extern const struct web_asset web_assets[];\n")
        f.write("extern const size_t web_assets_count;\n\n")
        f.write("\n".join(arrays))
        f.write("\n\nconst struct web_asset web_assets[] = {\n" + "\n".join(rows) + "\n};\n")
        f.write(f"const size_t web_assets_count = {len(rows)};\n")


if __name__ == "__main__":
    main()
