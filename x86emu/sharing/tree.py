"""The files of a shared folder, reached so that no name leads out of it.

A node is pinned by an O_PATH descriptor, found one component at a time with O_NOFOLLOW from the folder itself; a
symbolic link is a node like any other and is never followed, and `..` is answered from the names by which the node was
reached.  What a node's own descriptor cannot do goes by /proc/self/fd, which names that very inode.  Only regular files
and directories are ever opened: no device, FIFO or socket of the host is touched.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field

from x86emu.errors import UserInputError
from x86emu.sharing.messages import QID_DIRECTORY, QID_FILE, QID_SYMLINK, Qid

LONGEST_NAME = 255
Path = tuple[bytes, ...]

# Flags of Tlopen and Tlcreate (they are Linux's, on every architecture) that are passed on.
ACCESS_MODE = 0o3
PASSED_ON = {0o200: os.O_EXCL, 0o1000: os.O_TRUNC, 0o2000: os.O_APPEND, 0o10000: os.O_DSYNC, 0o4000000: os.O_SYNC}
ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PERMISSIONS = 0o1777  # no set-user-ID nor set-group-ID comes to the host from a guest


def fail(number: int) -> OSError:
    """An error for the guest."""
    return OSError(number, os.strerror(number))


def host_flags(flags: int) -> int:
    """The host's open flags for the guest's, without creation."""
    mode = flags & ACCESS_MODE
    if mode == ACCESS_MODE:
        raise fail(errno.EINVAL)
    host = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)[mode] | ALWAYS
    for bit, flag in PASSED_ON.items():
        if flags & bit:
            host |= flag
    return host


def writes(flags: int) -> bool:
    """Whether opening with the guest's flags could change the file."""
    return bool(flags & ACCESS_MODE or flags & 0o1000)


def check_name(name: bytes) -> bytes:
    """A name that one component may have; OSError otherwise."""
    if len(name) > LONGEST_NAME:
        raise fail(errno.ENAMETOOLONG)
    if not name or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise fail(errno.EINVAL)
    return name


@dataclass
class Node:
    """A file of the folder: `pin` is an O_PATH descriptor; `opened` one for reading or writing, if any."""

    pin: int
    path: Path
    opened: int | None = None
    flags: int = 0
    names: list[bytes] | None = None  # of a directory being read
    attribute: bytes | None = None  # this is an extended attribute: its contents
    creating: tuple[bytes, int, int] | None = None  # name, size, flags of one being written
    written: bytearray = field(default_factory=bytearray)

    @property
    def proc(self) -> str:
        """A name for exactly this inode."""
        return f"/proc/self/fd/{self.pin}"

    def stat(self) -> os.stat_result:
        return os.fstat(self.pin)

    def close(self) -> None:
        """Gives the descriptors back; may be called twice."""
        for descriptor in (self.pin, self.opened):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self.pin, self.opened = -1, None


class Tree:
    """The folder.  UserInputError where it cannot be shared."""

    def __init__(self, folder: os.PathLike[str] | str) -> None:
        if not hasattr(os, "O_PATH"):
            raise UserInputError(f"--share {folder}: folders can be shared from Linux hosts only")
        try:
            self.root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UserInputError(f"--share {folder}: is no folder that can be shared ({error.strerror})") from None
        self.numbers: dict[tuple[int, int], int] = {}  # qid paths by device and inode, in the order of appearance
        self.count = 0

    def close(self) -> None:
        """May be called twice."""
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    # --- finding

    def _step(self, parent: int, name: bytes) -> int:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def find(self, path: Path) -> Node:
        """The node at a path from the folder."""
        pin = os.dup(self.root)
        try:
            for name in path:
                deeper = self._step(pin, check_name(name))
                os.close(pin)
                pin = deeper
        except BaseException:
            os.close(pin)
            raise
        return Node(pin, path)

    def walk(self, node: Node, name: bytes) -> Node:
        """The node by one name from another."""
        if name == b"..":
            return self.find(node.path[:-1])
        if not stat.S_ISDIR(node.stat().st_mode):
            raise fail(errno.ENOTDIR)
        if name == b".":
            return Node(os.dup(node.pin), node.path)
        return Node(self._step(node.pin, check_name(name)), (*node.path, name))

    def again(self, node: Node) -> Node:
        """A second hold on a node."""
        return Node(os.dup(node.pin), node.path)

    def parent(self, node: Node) -> tuple[Node, bytes]:
        """The directory in which a node has its name; EBUSY for the folder itself, ENOENT where it has gone."""
        if not node.path:
            raise fail(errno.EBUSY)
        name = node.path[-1]
        above = self.find(node.path[:-1])
        try:
            there, here = os.stat(name, dir_fd=above.pin, follow_symlinks=False), node.stat()
            if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
                raise fail(errno.ENOENT)
        except BaseException:
            above.close()
            raise
        return above, name

    # --- what nodes are

    def qid(self, status: os.stat_result) -> Qid:
        """A node's identity, the same for the same inode."""
        key = (status.st_dev, status.st_ino)
        if key not in self.numbers:
            self.count += 1
            self.numbers[key] = self.count
        kind = QID_FILE
        if stat.S_ISDIR(status.st_mode):
            kind = QID_DIRECTORY
        elif stat.S_ISLNK(status.st_mode):
            kind = QID_SYMLINK
        version = (status.st_mtime_ns ^ status.st_size << 8) & 0xFFFF_FFFF
        return kind, version, self.numbers[key]

    def forget(self, status: os.stat_result) -> None:
        """The last name of an inode has gone: its number will not be given to another."""
        if status.st_nlink <= 1 or stat.S_ISDIR(status.st_mode):
            self.numbers.pop((status.st_dev, status.st_ino), None)

    # --- opening

    def open(self, node: Node, flags: int) -> None:
        """Opens a regular file or directory."""
        mode = node.stat().st_mode
        if stat.S_ISLNK(mode):
            raise fail(errno.ELOOP)
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise fail(errno.EOPNOTSUPP)
        host = host_flags(flags) & ~os.O_EXCL
        if stat.S_ISDIR(mode):
            if flags & ACCESS_MODE:
                raise fail(errno.EISDIR)
            host = os.O_RDONLY | os.O_DIRECTORY | ALWAYS
        node.opened, node.flags = os.open(node.proc, host), flags

    def create(self, directory: Node, name: bytes, flags: int, mode: int) -> Node:
        """Creates and opens a regular file, or opens one that is there, where the flags let it."""
        check_name(name)
        host = host_flags(flags) | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            opened = os.open(name, host, mode & PERMISSIONS, dir_fd=directory.pin)
        except FileExistsError:
            if flags & 0o200:
                raise
            node = self.walk(directory, name)
            try:
                self.open(node, flags)
            except BaseException:
                node.close()
                raise
            return node
        pin = os.open(f"/proc/self/fd/{opened}", os.O_PATH | os.O_CLOEXEC)
        return Node(pin, (*directory.path, name), opened, flags & ~0o200 & ~0o1000)
