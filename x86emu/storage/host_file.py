"""A file of the host that holds an image: opening with sentences, locks as QEMU takes them, whole reads and writes.

Locks are open-file-description locks (fcntl(2), F_OFD_SETLK) on single bytes, as QEMU's file-posix driver sets them, so
that either program notices the other: byte 100 + n says that permission n is in use, byte 200 + n that permission n
must not be used by others (0 consistent read, 1 write, 3 resize).  A file system without such locks goes unlocked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from x86emu.errors import UserInputError

LOCK_USED, LOCK_UNSHARED = 100, 200
READ, WRITE, RESIZE = 0, 1, 3
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
LONGEST_VECTOR = 1024  # IOV_MAX
NO_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def remaining(views: Sequence[memoryview], done: int) -> list[memoryview]:
    """What is left of `views` behind their first `done` bytes."""
    left: list[memoryview] = []
    for view in views:
        if done >= len(view):
            done -= len(view)
        else:
            left.append(view[done:])
            done = 0
    return left


def leading(views: Sequence[memoryview], length: int) -> list[memoryview]:
    """The first `length` bytes of `views`."""
    first: list[memoryview] = []
    for view in views:
        if length <= 0:
            break
        first.append(view[:length])
        length -= len(view)
    return first


def _flock(kind: int, start: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0)


class HostFile:
    """An open image file.  `create` makes it anew (empty); `lock` keeps other writers, or any other user, away.

    UserInputError says why it cannot be opened; I/O errors later are OSError.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, read_only: bool, create: bool = False, lock: bool = True
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self.descriptor = -1
        self._broken_sync: OSError | None = None
        flags = os.O_RDONLY if read_only else os.O_RDWR
        try:
            # Not waiting for the other end, should this be a FIFO.
            self.descriptor = os.open(self.path, flags | os.O_NONBLOCK | (os.O_CREAT if create else 0), 0o644)
            status = os.fstat(self.descriptor)
            self.size = os.lseek(self.descriptor, 0, os.SEEK_END)
        except FileNotFoundError:
            missing = f"The image {self.path} does not exist; give the path of an image."
            if create:
                missing = f"The image {self.path} cannot be made: the directory {self.path.parent} does not exist."
            raise UserInputError(missing) from None
        except IsADirectoryError:
            raise UserInputError(f"The image {self.path} is a directory; give the path of an image.") from None
        except PermissionError:
            wanted = "be read" if read_only else "be written; make it writable, or use it read-only or as a snapshot"
            raise UserInputError(f"The image {self.path} may not {wanted}.") from None
        except OSError as error:
            self.close()
            read_only_disk = "; use it read-only or as a snapshot" if error.errno == errno.EROFS else ""
            raise UserInputError(
                f"The image {self.path} cannot be opened: {error.strerror or error}{read_only_disk}."
            ) from None
        self.identity = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise UserInputError(f"The image {self.path} is a directory; give the path of an image.")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            self.close()
            raise UserInputError(f"The image {self.path} is neither a file nor a block device; give one that is.")
        try:
            if lock:
                self.lock()
            if create and stat.S_ISREG(status.st_mode):
                os.ftruncate(self.descriptor, 0)
                self.size = 0
        except BaseException:
            self.close()
            raise

    # --- locks

    def lock(self) -> None:
        """Takes the locks for how the file is open; UserInputError where another program has it."""
        used = (READ,) if self.read_only else (READ, WRITE, RESIZE)
        unshared = (WRITE, RESIZE)
        try:
            for byte in [LOCK_USED + n for n in used] + [LOCK_UNSHARED + n for n in unshared]:
                fcntl.fcntl(self.descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_RDLCK, byte))
            conflicts = [LOCK_UNSHARED + n for n in used] + [LOCK_USED + n for n in unshared]
            for byte in conflicts:
                found = fcntl.fcntl(self.descriptor, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, byte))
                if struct.unpack("hhqqi4x", found)[0] != fcntl.F_UNLCK:
                    self._refuse()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                self._refuse()
            if error.errno not in NO_LOCKS:
                raise UserInputError(f"The image {self.path} cannot be locked: {error.strerror}.") from None

    def _refuse(self) -> None:
        purpose = "reading" if self.read_only else "writing"
        raise UserInputError(
            f"The image {self.path} cannot be locked for {purpose}: another program or machine uses it"
            f"{' for writing' if self.read_only else ''}; end that one first, or use a copy."
        )

    # --- data

    def read(self, offset: int, length: int, *, beyond_end: bool = False) -> bytes:
        """`length` bytes from `offset`.  What lies beyond the end is an OSError, or zeros with `beyond_end`."""
        data = os.pread(self.descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self.descriptor, length - len(data), offset + len(data))
            if not more:
                if beyond_end:
                    return data + bytes(length - len(data))
                raise OSError(errno.EIO, f"{self.path} has become shorter than it was")
            data += more
        return data

    def read_into(self, offset: int, views: Sequence[memoryview], *, beyond_end: bool = False) -> None:
        """Fills `views`, one after the other, from `offset` on; what lies beyond the end as in `read`."""
        for first in range(0, len(views), LONGEST_VECTOR):
            part = list(views[first : first + LONGEST_VECTOR])
            while part:
                done = os.preadv(self.descriptor, part, offset)
                if not done:
                    if not beyond_end:
                        raise OSError(errno.EIO, f"{self.path} has become shorter than it was")
                    for view in part:
                        view[:] = bytes(len(view))
                    break
                offset += done
                part = remaining(part, done)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """All of `data` at `offset`.  OSError where the host refuses (no space left, file too large)."""
        if self.read_only:
            raise PermissionError(errno.EPERM, f"{self.path} is open for reading only")
        view = memoryview(data).cast("B")
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            view = view[written:]
            offset += written
        self.size = max(self.size, offset)

    def resize(self, size: int) -> None:
        """Makes the file `size` bytes long; new bytes are zero."""
        os.ftruncate(self.descriptor, size)
        self.size = size

    def sync(self) -> None:
        """Returns when all that was written is on stable storage (fdatasync).

        Once that failed it fails for good: the host may have dropped pages that it could not write.
        """
        if self._broken_sync is not None:
            raise self._broken_sync
        try:
            os.fdatasync(self.descriptor)
        except OSError as error:
            self._broken_sync = error
            raise

    def punch(self, offset: int, length: int) -> bool:
        """Gives a range back to the host's file system, reading as zeros; False where that cannot be done."""
        if _fallocate is None or not length:
            return not length
        return bool(_fallocate(self.descriptor, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, offset, length) == 0)

    def close(self) -> None:
        """Closes the file, which ends the locks."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "descriptor", -1) >= 0:
            self.close()


def _find_fallocate() -> ctypes._NamedFuncPointer | None:
    """fallocate(2) of the C library; None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    return function


_fallocate = _find_fallocate()
