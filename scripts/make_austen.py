#!/usr/bin/env python3
"""Rebuilds data/austen.txt, byte for byte, from Debian's package r-cran-janeaustenr.

    scripts/make_austen.py                     # apt-get download, then data/austen.txt
    scripts/make_austen.py --deb FILE.deb      # from a package that is already here
    scripts/make_austen.py --check             # compare with data/austen.txt, write nothing

Needs Python 3.8+ and, without --deb, apt-get (no root). data/README.md says what is in the text
and why it is cut and joined as it is.
"""

import argparse
import gzip
import hashlib
import io
import pathlib
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib

PACKAGE = "r-cran-janeaustenr"
VERSION = "1.0.0-1"
DEB_SHA256 = "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
TEXT_SHA256 = "b62c20bcd0772ce559f18d4313199e1b765cb6ce7c415e894df2097d47733d20"
DATA = "./usr/lib/R/site-library/janeaustenr/data/Rdata"
SEPARATOR = "<|endoftext|>"
# In order of publication, by their names in the package.
NOVELS = ["sensesensibility", "prideprejudice", "mansfieldpark", "emma", "northangerabbey", "persuasion"]
DEFAULT_OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "austen.txt"

HEADING = re.compile(r"chapter ([ivxl]+|\d+)$", re.IGNORECASE)
VOLUME = re.compile(r"volume [ivx]+$", re.IGNORECASE)
# What later editors and printers added.
EDITORIAL = re.compile(
    r"\[At this point in the first and second editions,.*\]|\[End volume one of this edition\..*\]"
)
NOTE_ON_THE_TEXT = "A NOTE ON THE TEXT"


def fetch():
    """The package's bytes, by apt-get into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", f"{PACKAGE}={VERSION}"], cwd=folder, check=True)
        return next(pathlib.Path(folder).glob("*.deb")).read_bytes()


def data_members(deb):
    """The files Rdata.rdx and Rdata.rdb out of a .deb (an `ar` archive with a tar inside)."""
    at = 8
    while at < len(deb):
        name, size = deb[at : at + 16].decode().strip(), int(deb[at + 48 : at + 58])
        body = deb[at + 60 : at + 60 + size]
        if name.startswith("data.tar"):
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                return [tar.extractfile(DATA + end).read() for end in (".rdx", ".rdb")]
        at += 60 + size + size % 2
    sys.exit(f"the package holds no data.tar; get {PACKAGE} {VERSION}")


class Xdr:
    """The few parts of R's serialisation format (XDR, version 3) that the package uses."""

    STRING, INTEGERS, STRINGS, LIST, PAIRLIST, NIL = 9, 13, 16, 19, 2, 254

    def __init__(self, data):
        assert data[:2] == b"X\n", "not R's XDR format"
        self.data, self.at, self.symbols = data, 2, []
        version, _, _ = self.int(), self.int(), self.int()
        if version >= 3:
            length = self.int()  # of the native encoding's name
            self.at += length

    def int(self):
        (value,) = struct.unpack_from(">i", self.data, self.at)
        self.at += 4
        return value

    def read(self):
        flags = self.int()
        kind = flags & 0xFF
        if kind == self.NIL:
            return None
        if kind == 255:  # a symbol seen before
            return self.symbols[(flags >> 8) - 1]
        if kind == 1:
            self.symbols.append(self.read())
            return self.symbols[-1]
        if kind == self.STRING:
            length = self.int()
            self.at += length
            return self.data[self.at - length : self.at].decode("utf-8")
        if kind == self.PAIRLIST:
            tag = self.read()
            value, rest = self.read(), self.read()
            return {tag: value, **(rest or {})}
        if kind == self.INTEGERS:
            value = [self.int() for _ in range(self.int())]
        elif kind == 10:  # logical
            value = [bool(self.int()) for _ in range(self.int())]
        elif kind in (self.STRINGS, self.LIST):
            value = [self.read() for _ in range(self.int())]
        else:
            sys.exit(f"the package's data holds an R type {kind} that this script does not know")
        attributes = self.read() if flags & 0x200 else {}
        return dict(zip(attributes["names"], value)) if "names" in attributes else value


def novels(rdx, rdb):
    """{name: lines} from R's lazy-load database: an index of [offset, length] into chunks."""
    index = Xdr(gzip.decompress(rdx)).read()["variables"]
    for name in NOVELS:
        offset, length = index[name]
        # Four bytes of length, then a zlib stream.
        yield name, Xdr(zlib.decompress(rdb[offset + 4 : offset + length])).read()


def blocks(lines):
    """Runs of lines that are not blank."""
    block = []
    for line in lines + [""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


def paragraph(block):
    """A block as it should read: wrapped prose on one line, verse and signatures as they stand.

    Lines of one indentation are one wrapped text when they are flush left, or when one of them
    goes on in lower case; otherwise each stands alone.
    """
    indent = [len(line) - len(line.lstrip()) for line in block]
    wrapped = any(line.lstrip()[0].islower() for line in block)
    text = block[0].strip()
    for line, here, before in zip(block[1:], indent[1:], indent):
        line = line.strip()
        if here == before and (here == 0 or wrapped):
            text += line if text.endswith("--") or line.startswith("--") else " " + line
        else:
            text += "\n" + line
    # Three of the six books mark italics, two set a double space after a full stop.
    return re.sub(r" {2,}", " ", text.replace("_", ""))


def chapters(lines):
    """A book's documents; what precedes a chapter's heading (title, volume) goes with it."""
    documents, head, has_body = [], [], False
    for block in blocks(lines):
        text = paragraph(block)
        if text == NOTE_ON_THE_TEXT:
            break  # not by the author
        if EDITORIAL.fullmatch(text.replace("\n", " ")):
            continue
        if (HEADING.match(text) or VOLUME.match(text)) and has_body:
            documents.append(head)
            head, has_body = [], False
        head.append(text)
        # A title page is all short lines; the body of a chapter is not.
        has_body = has_body or len(text) > 80
    documents.append(head)
    return ["\n\n".join(document) for document in documents]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--deb", type=pathlib.Path, help=f"{PACKAGE}_{VERSION}_all.deb, if it is here")
    parser.add_argument("--out", type=pathlib.Path, default=DEFAULT_OUT)
    parser.add_argument("--check", action="store_true", help="only compare with --out")
    args = parser.parse_args()

    deb = args.deb.read_bytes() if args.deb else fetch()
    if hashlib.sha256(deb).hexdigest() != DEB_SHA256:
        sys.exit(f"this is not {PACKAGE} {VERSION} (sha256 {DEB_SHA256})")
    documents = [text for _, lines in novels(*data_members(deb)) for text in chapters(lines)]
    text = (f"\n{SEPARATOR}\n".join(documents) + "\n").encode("utf-8")
    digest = hashlib.sha256(text).hexdigest()
    print(f"{len(documents)} documents, {len(text):,} bytes, sha256 {digest}")
    if digest != TEXT_SHA256:
        print(f"this differs from the text that is shipped (sha256 {TEXT_SHA256})", file=sys.stderr)
    if args.check:
        same = args.out.read_bytes() == text
        print(f"{args.out} is {'the same' if same else 'DIFFERENT'}")
        sys.exit(not same)
    aside = args.out.with_name(args.out.name + ".tmp")
    aside.write_bytes(text)
    aside.replace(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
