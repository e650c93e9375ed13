#!/usr/bin/env python3
"""Write a C file that holds the scripts: embed.py OUT.c common.lua SCRIPT.lua…

Each script gets what they share in front of it, without comments; its name is that of its
file, and its SHA-1 is what the server knows it by.
"""
import hashlib
import os
import sys


def code(path):
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f]
    return "".join(line + "\n" for line in lines if line and not line.startswith("--"))


def main():
    out, shared, files = sys.argv[1], code(sys.argv[2]), sys.argv[3:]
    with open(out, "w", encoding="utf-8") as f:
        f.write('#include "queue/redis_scripts.h"\n')
        for path in files:
            name = os.path.splitext(os.path.basename(path))[0]
            text = (shared + code(path)).encode()
            numbers = ",".join(str(b) for b in text + b"\0")
            sha = hashlib.sha1(text).hexdigest()
            f.write(f"\nstatic const char {name}_text[] = {{{numbers}}};\n")
            f.write(f"const struct redis_script redis_script_{name} = "
                    f'{{"{name}", "{sha}", {name}_text}};\n')


if __name__ == "__main__":
    main()
