"""`x86emu image create|info|convert|check`: disk images on the command line.  docs/storage.md."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from x86emu.errors import UserInputError

UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
CHECK_CORRUPT, CHECK_LEAKS = 1, 3
EPILOGUE = """\
exit codes:
  0  done; of check: nothing is wrong
  1  of check: the image is corrupt
  2  unusable input: a file, an option or a value
  3  of check: clusters are leaked (space is lost, no data)
"""


def parse_size(text: str) -> int:
    """Bytes of "10G", "512M", "1.5G" or a plain number of bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([BKMGT]?)", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; 10G, 512M or a number of bytes would do")
    unit = UNITS[match[2].upper()]
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of the command line."""
    image = commands.add_parser(
        "image",
        help="make, look at, convert and check disk images",
        description="Makes, looks at, converts and checks disk images (raw, qcow2).",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = image.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(image))
    formats = ("raw", "qcow2")

    create = actions.add_parser("create", help="make an empty image")
    create.add_argument("file", metavar="FILE")
    create.add_argument("size", metavar="SIZE", nargs="?", type=parse_size, help="10G; the backing file's if left out")
    create.add_argument("--format", "-f", choices=formats, default="qcow2", help="default qcow2")
    create.add_argument("--backing", "-b", metavar="FILE", help="what shows until it is written over; relative to FILE")
    create.add_argument("--backing-format", "-F", choices=formats, help="found out unless given")
    create.add_argument("--cluster-size", type=parse_size, default=65536, metavar="SIZE", help="512 to 2M, default 64K")
    create.add_argument("--qcow2-version", type=int, choices=(2, 3), default=3, help="default 3")
    create.add_argument("--refcount-bits", type=int, default=16, metavar="N", help="1 to 64, default 16")
    create.add_argument("--lazy-refcounts", action="store_true", help="store refcounts when the image is closed")

    info = actions.add_parser("info", help="say what an image is")
    info.add_argument("file", metavar="FILE")
    info.add_argument("--format", "-f", choices=formats, help="found out unless given")
    info.add_argument("--json", action="store_true", help="for programs")

    convert = actions.add_parser("convert", help="copy what the guest sees into a new image")
    convert.add_argument("source", metavar="SOURCE")
    convert.add_argument("target", metavar="TARGET")
    convert.add_argument("--format", "-f", choices=formats, help="of the source; found out unless given")
    convert.add_argument("--output-format", "-O", choices=formats, default="raw", help="of the target; default raw")
    convert.add_argument("--cluster-size", type=parse_size, default=65536, metavar="SIZE", help="default 64K")
    convert.add_argument("--qcow2-version", type=int, choices=(2, 3), default=3, help="default 3")

    check = actions.add_parser("check", help="check a qcow2 image's tables")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--repair", "-r", choices=("leaks", "all"), help="correct the refcounts: those too high, or all")


def run(options: argparse.Namespace) -> int:
    """Carries out `x86emu image ...`; returns the exit code."""
    return {"create": _create, "info": _info, "convert": _convert, "check": _check}[options.action](options)


def _create(options: argparse.Namespace) -> int:
    from x86emu.storage import create_image

    create_image(
        options.file, options.size, options.format, backing_file=options.backing,
        backing_format=options.backing_format, cluster_size=options.cluster_size, version=options.qcow2_version,
        refcount_bits=options.refcount_bits, lazy_refcounts=options.lazy_refcounts,
    )  # fmt: skip
    return 0


def describe(file: str, format: str | None = None) -> dict[str, Any]:
    """What `info` says, as plain data."""
    import os

    from x86emu.storage import open_image
    from x86emu.storage.qcow2 import Qcow2Image
    from x86emu.storage.qcow2_format import CORRUPT, DIRTY, LAZY_REFCOUNTS

    image = open_image(file, format, read_only=True)
    try:
        facts: dict[str, Any] = {
            "file": file,
            "format": image.format,
            "virtual-size": image.size,
            "disk-size": os.stat(file).st_blocks * 512,
        }
        if isinstance(image, Qcow2Image):
            header = image.header
            facts |= {
                "version": header.version,
                "cluster-size": header.cluster_size,
                "refcount-bits": 1 << header.refcount_order,
                "lazy-refcounts": bool(header.compatible_features & LAZY_REFCOUNTS),
                "compression": "zstd" if image.compressed_by_zstd else "zlib",
                "dirty": bool(header.incompatible_features & DIRTY),
                "corrupt": bool(header.incompatible_features & CORRUPT),
                "snapshots": [{"id": entry.identifier, "name": entry.name} for entry in image.snapshots],
            }
            if header.backing_file is not None:
                facts["backing-file"] = header.backing_file
                facts["backing-format"] = header.backing_format or (image.backing.format if image.backing else None)
        facts["notes"] = image.notes
        return facts
    finally:
        image.close()


def _info(options: argparse.Namespace) -> int:
    facts = describe(options.file, options.format)
    if options.json:
        print(json.dumps(facts, indent=1))
        return 0
    notes = facts.pop("notes")
    for name, value in facts.items():
        if name == "snapshots":
            value = ", ".join(f"{entry['id']} {entry['name']}" for entry in value) or "none"
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif name.endswith("size"):
            value = f"{value} bytes"
        print(f"{name + ':':17}{value}")
    for note in notes:
        print(f"note: {note}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from x86emu.storage.convert import convert

    convert(
        options.source, options.target, source_format=options.format, target_format=options.output_format,
        cluster_size=options.cluster_size, version=options.qcow2_version,
    )  # fmt: skip
    return 0


def _check(options: argparse.Namespace) -> int:
    from x86emu.storage.host_file import HostFile
    from x86emu.storage.opening import probe
    from x86emu.storage.qcow2 import Qcow2Image
    from x86emu.storage.qcow2_check import SHOWN, check, repair

    file = HostFile(options.file, read_only=options.repair is None)
    if probe(file) != "qcow2":
        file.close()
        raise UserInputError(f"The image {options.file} is raw, which has no tables to check; qcow2 has.")
    # For repair the image must open whatever its bits say.
    try:
        image = Qcow2Image(file, for_repair=True)
    except OSError as error:
        raise UserInputError(f"The image {options.file} cannot be read: {error.strerror or error}.") from None
    try:
        result = check(image) if options.repair is None else repair(image, leaks_only=options.repair == "leaks")
    except OSError as error:
        raise UserInputError(f"The image {options.file} cannot be checked: {error.strerror or error}.") from None
    finally:
        image.abandon()
    for kind, found in (("corrupt", result.corruptions), ("leak", result.leaks)):
        for sentence in found[:SHOWN]:
            print(f"{kind}: {sentence}")
        if len(found) > SHOWN:
            print(f"{kind}: and {len(found) - SHOWN} more")
    print(
        f"{result.allocated_clusters} of {result.total_clusters} clusters are allocated,"
        f" {result.compressed_clusters} of them compressed"
    )
    if result.clean:
        print("nothing is wrong" + (" any more" if result.repaired else ""))
        return 0
    print(f"{len(result.corruptions)} corruptions, {len(result.leaks)} leaks")
    return CHECK_CORRUPT if result.corruptions else CHECK_LEAKS
