"""Disk images: raw and qcow2 files of the host behind the guest's disks.  docs/storage.md."""

from x86emu.storage.image import Image, SnapshotOverlay
from x86emu.storage.opening import create_image, open_image

__all__ = ["Image", "SnapshotOverlay", "create_image", "open_image"]
