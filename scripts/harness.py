"""What every check here shares: finding the binary, running it, reading what it wrote.

Standard library only, so that a script that needs no PyTorch runs on any Python 3.10+.
"""

import argparse
import importlib.util
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "venv"
# What `pip install` is given when a module is missing: module name -> package name.
PEERS = {
    "torch": "torch>=2.6",
    "transformers": "transformers>=5",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "numpy": "numpy",
}


class CheckFailed(Exception):
    """A sentence that says what did not hold."""


def ensure_modules(*modules):
    """Returns once `modules` can be imported. Where one is missing, makes a virtual environment
    under target/venv, installs the peers there, and starts this script again inside it."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if not missing:
        return
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV.resolve():
        raise SystemExit(f"error: {', '.join(missing)} did not install into {VENV}; delete that folder and run again")
    have = python.exists() and not subprocess.run(
        [python, "-c", "import " + ", ".join(modules)], stderr=subprocess.DEVNULL
    ).returncode
    if not have:
        print(f"{', '.join(missing)} missing: installing {', '.join(PEERS)} into {VENV} (once)", file=sys.stderr)
        try:
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PEERS.values()], check=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise SystemExit(f"error: could not prepare {VENV}: {e}")
    os.execv(python, [str(python), *sys.argv])


def arguments(doc, example, work):
    """An argument parser with the options that every check has."""
    parser = argparse.ArgumentParser(
        description=doc, epilog=f"example:\n  {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lehr", type=Path, default=ROOT / "target" / "release" / "lehr", metavar="BINARY",
                        help="the binary under test (default: target/release/lehr)")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "austen.txt", metavar="PATH",
                        help="corpus to train on (default: data/austen.txt)")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "checks" / work, metavar="DIR",
                        help=f"scratch folder, emptied first (default: target/checks/{work})")
    parser.add_argument("--lehr-args", default="", metavar="'ARGS'", help="more flags for every `lehr train`")
    return parser


def start(args):
    """Checks the inputs that every check needs, and empties the scratch folder."""
    if not args.lehr.is_file():
        raise SystemExit(f"error: no binary at {args.lehr}; run `cargo build --release`, or name one with --lehr")
    if not args.data.exists():
        raise SystemExit(f"error: no corpus at {args.data}; name one with --data")
    marker = args.work / ".lehr-check"
    if args.work.exists():
        if any(args.work.iterdir()) and not marker.exists():
            raise SystemExit(f"error: {args.work} holds files that no check wrote; name another folder with --work")
        shutil.rmtree(args.work)
    args.work.mkdir(parents=True)
    marker.touch()
    args.lehr = args.lehr.resolve()
    args.lehr_args = shlex.split(args.lehr_args)


def lehr(args, *words):
    """Runs `lehr WORDS…` and returns its stdout; a failure shows the command and its last lines."""
    command = [str(args.lehr), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        tail = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise CheckFailed(f"exit code {done.returncode} from: {shlex.join(command)}\n    {tail}")
    return done.stdout


def lehr_json(args, *words):
    """Runs `lehr WORDS… --json` and returns the one object that it prints."""
    out = lehr(args, *words, "--json")
    try:
        return json.loads(out)
    except ValueError as e:
        raise CheckFailed(f"`lehr {shlex.join(map(str, words))} --json` did not print one JSON object: {e}: {out[:200]!r}")


def read_metrics(run):
    """The objects of metrics.jsonl: (training lines, evaluation lines), in file order."""
    lines = []
    for number, line in enumerate((run / "metrics.jsonl").read_text().splitlines(), 1):
        try:
            lines.append(json.loads(line))
        except ValueError:
            raise CheckFailed(f"{run / 'metrics.jsonl'}:{number} is not a JSON object: {line[:80]!r}")
    return [l for l in lines if "loss" in l], [l for l in lines if "val_loss" in l]


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file, by the format's own definition:
    a u64 header length, a JSON header, then the tensors, which must fill the file exactly."""
    raw = path.read_bytes()
    if len(raw) < 8:
        raise CheckFailed(f"{path} is truncated: {len(raw)} bytes")
    (length,) = struct.unpack_from("<Q", raw)
    try:
        header = json.loads(raw[8 : 8 + length])
    except ValueError as e:
        raise CheckFailed(f"{path} has no readable header: {e}")
    header.pop("__metadata__", None)
    body = raw[8 + length :]
    end = max((t["data_offsets"][1] for t in header.values()), default=0)
    if end != len(body):
        raise CheckFailed(f"{path} should hold {end} bytes of tensors and holds {len(body)}")
    return {
        name: (t["dtype"], tuple(t["shape"]), body[slice(*t["data_offsets"])]) for name, t in sorted(header.items())
    }


def write_whole(path, text):
    """Writes a file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(text)
    os.replace(aside, path)


def conclude(name, failures, passed):
    """Prints the closing line and exits: 0 when nothing failed."""
    for failure in failures:
        print(f"  FAIL  {failure}")
    print(f"{name}: {'FAILED, ' + str(len(failures)) + ' problem(s)' if failures else 'passed, ' + passed}")
    sys.exit(1 if failures else 0)
