"""Copying an image into a new one of another format; what reads as zeros is left unallocated."""

from __future__ import annotations

import os
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.opening import create_image, open_image

CHUNK = 1 << 20
GRAIN = 4096


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    source_format: str | None = None,
    target_format: str = "raw",
    cluster_size: int = 65536,
    version: int = 3,
) -> None:
    """Writes what a guest sees of `source` to a new image `target`.  UserInputError where one cannot be used."""
    reader = open_image(source, source_format, read_only=True)
    try:
        if Path(target).exists() and Path(target).samefile(Path(source)):
            raise UserInputError(f"The image {target} cannot be converted into itself; give another name.")
        create_image(target, reader.size, target_format, cluster_size=cluster_size, version=version)
        writer = open_image(target, target_format)
        try:
            grain = max(GRAIN, cluster_size) if target_format == "qcow2" else GRAIN
            for offset in range(0, reader.size, CHUNK):
                length = min(CHUNK, reader.size - offset)
                if reader.is_hole(offset, length):
                    continue
                data = memoryview(reader.read_bytes(offset, length))
                start: int | None = None  # of a run that is not zero
                for at in range(0, length, grain):
                    if any(data[at : at + grain]):
                        start = at if start is None else start
                    elif start is not None:
                        writer.write_bytes(offset + start, data[start:at])
                        start = None
                if start is not None:
                    writer.write_bytes(offset + start, data[start:])
        finally:
            writer.close()
    except OSError as error:
        raise UserInputError(f"{source} cannot be converted to {target}: {error.strerror or error}.") from None
    finally:
        reader.close()
