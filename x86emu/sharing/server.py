"""A 9P2000.L server for one folder: bytes of a request in, bytes of its answer out.

Plan 9 Programmer's Manual section 5 (version, attach, walk, read, write, clunk, remove, flush); diod's protocol.md for
the .L messages.  All files are the user's who runs this: ownership that the guest asks for is not given, set-user-ID
bits and device nodes are not made.  Only extended attributes of the user namespace exist.  Locks are the guest's own
affair (there is one client), so every lock is granted.  Whatever a client sends, the answer is an errno at worst.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from x86emu.sharing.messages import (
    HEADER,
    NO_FID,
    NO_TAG,
    Malformed,
    Message,
    Reader,
    pack_qid,
    pack_string,
)
from x86emu.sharing.tree import PERMISSIONS, Node, Tree, check_name, fail, writes

VERSION = b"9P2000.L"
SMALLEST_MESSAGE, LARGEST_MESSAGE = 4096, 1 << 20
LARGEST_WALK = 16
LARGEST_ATTRIBUTE = 1 << 16
READ_OVERHEAD = HEADER.size + 4
AT_REMOVEDIR = 0x200
V9FS_MAGIC = 0x01021997
UNLOCKED = 2
GETATTR_BASIC = 0x7FF
SETATTR_MODE, SETATTR_SIZE, SETATTR_ATIME, SETATTR_MTIME = 0x001, 0x008, 0x010, 0x020
SETATTR_ATIME_SET, SETATTR_MTIME_SET = 0x080, 0x100
USER_ATTRIBUTES = b"user."
DESCRIPTORS_LEFT = 64  # of this process, that the guest cannot use up


def descriptor_limit() -> int:
    """How many files a guest may hold: the process's limit, raised as far as it goes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1 << 16 if hard == resource.RLIM_INFINITY else min(hard, 1 << 16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            pass
    return (1 << 16 if soft == resource.RLIM_INFINITY else soft) // 2 - DESCRIPTORS_LEFT


class ShareServer:
    """Serves `folder`; `handle(request, room)` gives the answer, at most `room` bytes.

    UserInputError where the folder is none or cannot be read.
    """

    def __init__(self, folder: Path | str, *, read_only: bool = False) -> None:
        self.tree = Tree(folder)
        self.read_only = read_only
        self.limit = descriptor_limit()
        self.fids: dict[int, Node] = {}
        self.message_size = SMALLEST_MESSAGE
        self.handlers: dict[int, Callable[[Reader], bytes]] = {
            kind: getattr(self, f"_{kind.name.lower()}")
            for kind in Message
            if hasattr(self, f"_{kind.name.lower()}")
        }  # fmt: skip

    def close(self) -> None:
        """Gives back all of the host's files; may be called twice."""
        self._drop_all()
        self.tree.close()

    def reset(self) -> None:
        """The client has gone, another may come."""
        self._drop_all()
        self.message_size = SMALLEST_MESSAGE

    def _drop_all(self) -> None:
        fids, self.fids = self.fids, {}
        for node in fids.values():
            node.close()

    def handle(self, request: bytes, room: int) -> bytes:
        """The answer to one request."""
        tag, kind = NO_TAG, int(Message.LERROR)
        try:
            if len(request) < HEADER.size:
                raise Malformed
            size, kind, tag = HEADER.unpack_from(request)
            if size != len(request) or size > max(self.message_size, SMALLEST_MESSAGE):
                raise Malformed
            handler = self.handlers.get(kind)
            if handler is None:
                raise fail(errno.EOPNOTSUPP)
            self.room = min(room, self.message_size)
            answer = handler(Reader(request[HEADER.size :]))
            if HEADER.size + len(answer) > min(room, self.message_size):
                raise fail(errno.EMSGSIZE)
        except OSError as error:
            kind, answer = Message.LERROR, struct.pack("<I", error.errno or errno.EIO)
        except (Malformed, ValueError, OverflowError):
            kind, answer = Message.LERROR, struct.pack("<I", errno.EINVAL)
        return HEADER.pack(HEADER.size + len(answer), kind + 1, tag) + answer

    # --- fids

    def _node(self, number: int) -> Node:
        node = self.fids.get(number)
        if node is None:
            raise fail(errno.EBADF)
        return node

    def _file(self, number: int) -> Node:
        """A fid that names a file, not an extended attribute."""
        node = self._node(number)
        if node.attribute is not None or node.creating is not None:
            raise fail(errno.EBADF)
        return node

    def _opened(self, number: int) -> tuple[Node, int]:
        node = self._file(number)
        if node.opened is None:
            raise fail(errno.EBADF)
        return node, node.opened

    def _free(self, number: int) -> int:
        if number in self.fids or number == NO_FID:
            raise fail(errno.EINVAL)
        if len(self.fids) >= self.limit:
            raise fail(errno.EMFILE)
        return number

    def _changes(self) -> None:
        if self.read_only:
            raise fail(errno.EROFS)

    def _moved(self, old: tuple[bytes, ...], new: tuple[bytes, ...]) -> None:
        """Names of fids below a renamed directory follow it."""
        for node in self.fids.values():
            if node.path[: len(old)] == old:
                node.path = new + node.path[len(old) :]

    # --- session

    def _version(self, reader: Reader) -> bytes:
        size, version = reader.number(), reader.string()
        reader.end()
        if size < SMALLEST_MESSAGE:
            raise fail(errno.EMSGSIZE)
        self._drop_all()
        self.message_size = self.room = min(size, LARGEST_MESSAGE)
        known = version == VERSION or version.startswith(VERSION + b".")
        return struct.pack("<I", self.message_size) + pack_string(VERSION if known else b"unknown")

    def _attach(self, reader: Reader) -> bytes:
        fid, _, _, _, _ = reader.number(), reader.number(), reader.string(), reader.string(), reader.number()
        reader.end()
        node = self.tree.find(())
        try:
            qid = self.tree.qid(node.stat())
            self.fids[self._free(fid)] = node
        except BaseException:
            node.close()
            raise
        return pack_qid(qid)

    def _flush(self, reader: Reader) -> bytes:
        reader.number("H")
        reader.end()
        return b""  # every request was answered before the next was looked at

    def _walk(self, reader: Reader) -> bytes:
        fid, new, count = reader.take("IIH")
        if count > LARGEST_WALK:
            raise fail(errno.EINVAL)
        names = [reader.string() for _ in range(count)]
        reader.end()
        start = self._file(fid)
        if start.opened is not None:
            raise fail(errno.EBUSY)
        if new != fid:
            self._free(new)
        node, qids = self.tree.again(start), []
        try:
            for name in names:
                deeper = self.tree.walk(node, name)
                node.close()
                node = deeper
                qids.append(self.tree.qid(node.stat()))
        except OSError:
            node.close()
            if not qids:
                raise
        else:
            if new == fid:
                start.close()
            self.fids[new] = node
        return struct.pack("<H", len(qids)) + b"".join(map(pack_qid, qids))

    def _clunk(self, reader: Reader) -> bytes:
        fid = reader.number()
        reader.end()
        node = self._node(fid)
        del self.fids[fid]
        try:
            if node.creating is not None:
                self._set_attribute(node)
        finally:
            node.close()
        return b""

    # --- files

    def _lopen(self, reader: Reader) -> bytes:
        fid, flags = reader.take("II")
        reader.end()
        node = self._file(fid)
        if node.opened is not None:
            raise fail(errno.EBUSY)
        if writes(flags):
            self._changes()
        self.tree.open(node, flags)
        return pack_qid(self.tree.qid(node.stat())) + struct.pack("<I", 0)

    def _lcreate(self, reader: Reader) -> bytes:
        fid, name, (flags, mode, _) = reader.number(), reader.string(), reader.take("III")
        reader.end()
        self._changes()
        directory = self._file(fid)
        node = self.tree.create(directory, name, flags, mode)
        self.fids[fid] = node
        directory.close()
        return pack_qid(self.tree.qid(node.stat())) + struct.pack("<I", 0)

    def _read(self, reader: Reader) -> bytes:
        fid, offset, count = reader.take("IQI")
        reader.end()
        count = min(count, self.room - READ_OVERHEAD)
        node = self._node(fid)
        if node.attribute is not None:
            data = node.attribute[offset : offset + count]
        else:
            data = os.pread(self._opened(fid)[1], count, offset)
        return struct.pack("<I", len(data)) + data

    def _write(self, reader: Reader) -> bytes:
        fid, offset, count = reader.take("IQI")
        data = reader.part(count)
        reader.end()
        self._changes()
        node = self._node(fid)
        if node.creating is not None:
            if offset != len(node.written) or offset + count > node.creating[1]:
                raise fail(errno.EINVAL)
            node.written += data
        else:
            count = os.pwrite(self._opened(fid)[1], data, offset)
        return struct.pack("<I", count)

    def _fsync(self, reader: Reader) -> bytes:
        fid, data_only = reader.number(), reader.number() if len(reader.data) > 4 else 0
        reader.end()
        descriptor = self._opened(fid)[1]
        if data_only:
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)
        return b""

    def _readdir(self, reader: Reader) -> bytes:
        fid, offset, count = reader.take("IQI")
        reader.end()
        node, descriptor = self._opened(fid)
        if node.names is None or not offset:
            node.names = [b".", b"..", *sorted(os.fsencode(name) for name in os.listdir(descriptor))]
        count = min(count, self.room - READ_OVERHEAD)
        found = b""
        for index, name in enumerate(node.names[offset:], offset + 1):
            try:
                if name == b"..":
                    above = self.tree.walk(node, name)
                    status = above.stat()
                    above.close()
                else:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            except OSError:
                continue  # has gone meanwhile
            kind = stat.S_IFMT(status.st_mode) >> 12
            entry = pack_qid(self.tree.qid(status)) + struct.pack("<QB", index, kind) + pack_string(name)
            if len(found) + len(entry) > count:
                if not found:
                    raise fail(errno.EINVAL)
                break
            found += entry
        return struct.pack("<I", len(found)) + found

    # --- attributes

    def _getattr(self, reader: Reader) -> bytes:
        fid, _ = reader.take("IQ")
        reader.end()
        status = self._file(fid).stat()

        def time(nanoseconds: int) -> tuple[int, int]:
            seconds, rest = divmod(nanoseconds, 1_000_000_000)
            return seconds & 0xFFFF_FFFF_FFFF_FFFF, rest

        return (
            struct.pack("<Q", GETATTR_BASIC)
            + pack_qid(self.tree.qid(status))
            + struct.pack("<IIIQQQQQ", status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_rdev,
                          status.st_size, status.st_blksize, status.st_blocks)
            + struct.pack("<8Q", *time(status.st_atime_ns), *time(status.st_mtime_ns), *time(status.st_ctime_ns), 0, 0)
            + struct.pack("<QQ", 0, 0)
        )  # fmt: skip

    def _setattr(self, reader: Reader) -> bytes:
        fid, valid, mode, _, _, size, atime, atime_ns, mtime, mtime_ns = reader.take("IIIIIQQQQQ")
        reader.end()
        self._changes()
        node = self._file(fid)
        status = node.stat()
        if valid & SETATTR_MODE:
            os.chmod(node.proc, mode & PERMISSIONS)
        if valid & SETATTR_SIZE:
            if not stat.S_ISREG(status.st_mode):
                raise fail(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL)
            os.truncate(node.proc, size)
        if valid & (SETATTR_ATIME | SETATTR_MTIME):
            import time

            now = time.time_ns()
            times = [status.st_atime_ns, status.st_mtime_ns]
            for index, asked, given, value in (
                (0, SETATTR_ATIME, SETATTR_ATIME_SET, atime * 1_000_000_000 + atime_ns),
                (1, SETATTR_MTIME, SETATTR_MTIME_SET, mtime * 1_000_000_000 + mtime_ns),
            ):
                if valid & asked:
                    times[index] = value if valid & given else now
            os.utime(node.proc, ns=(times[0], times[1]))
        return b""

    def _statfs(self, reader: Reader) -> bytes:
        fid = reader.number()
        reader.end()
        found = os.statvfs(self._file(fid).pin)
        return struct.pack(
            "<IIQQQQQQI", V9FS_MAGIC, found.f_bsize, found.f_blocks, found.f_bfree, found.f_bavail, found.f_files,
            found.f_ffree, found.f_fsid & 0xFFFF_FFFF_FFFF_FFFF, found.f_namemax,
        )  # fmt: skip

    def _readlink(self, reader: Reader) -> bytes:
        fid = reader.number()
        reader.end()
        node = self._file(fid)
        if not stat.S_ISLNK(node.stat().st_mode):
            raise fail(errno.EINVAL)
        return pack_string(os.readlink(b"", dir_fd=node.pin))

    # --- names

    def _made(self, directory: Node, name: bytes) -> bytes:
        return pack_qid(self.tree.qid(os.stat(name, dir_fd=directory.pin, follow_symlinks=False)))

    def _mkdir(self, reader: Reader) -> bytes:
        fid, name, (mode, _) = reader.number(), check_name(reader.string()), reader.take("II")
        reader.end()
        self._changes()
        directory = self._file(fid)
        os.mkdir(name, mode & PERMISSIONS, dir_fd=directory.pin)
        return self._made(directory, name)

    def _symlink(self, reader: Reader) -> bytes:
        fid, name, target, _ = reader.number(), check_name(reader.string()), reader.string(), reader.number()
        reader.end()
        self._changes()
        directory = self._file(fid)
        os.symlink(target, name, dir_fd=directory.pin)
        return self._made(directory, name)

    def _mknod(self, reader: Reader) -> bytes:
        fid, name, (mode, _, _, _) = reader.number(), check_name(reader.string()), reader.take("IIII")
        reader.end()
        self._changes()
        directory = self._file(fid)
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind not in (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
            raise fail(errno.EPERM)  # a device of the host
        os.mknod(name, kind | mode & PERMISSIONS, dir_fd=directory.pin)
        return self._made(directory, name)

    def _link(self, reader: Reader) -> bytes:
        directory_fid, fid, name = reader.number(), reader.number(), check_name(reader.string())
        reader.end()
        self._changes()
        directory, node = self._file(directory_fid), self._file(fid)
        os.link(node.proc, name, dst_dir_fd=directory.pin, follow_symlinks=True)
        return b""

    def _rename_to(self, source: Node, old: bytes, target: Node, new: bytes) -> None:
        try:
            self.tree.forget(os.stat(new, dir_fd=target.pin, follow_symlinks=False))
        except FileNotFoundError:
            pass
        os.rename(old, new, src_dir_fd=source.pin, dst_dir_fd=target.pin)
        self._moved((*source.path, old), (*target.path, new))

    def _rename(self, reader: Reader) -> bytes:
        fid, directory_fid, name = reader.number(), reader.number(), check_name(reader.string())
        reader.end()
        self._changes()
        target = self._file(directory_fid)
        source, old = self.tree.parent(self._file(fid))
        try:
            self._rename_to(source, old, target, name)
        finally:
            source.close()
        return b""

    def _renameat(self, reader: Reader) -> bytes:
        old_fid, old = reader.number(), check_name(reader.string())
        new_fid, new = reader.number(), check_name(reader.string())
        reader.end()
        self._changes()
        self._rename_to(self._file(old_fid), old, self._file(new_fid), new)
        return b""

    def _unlink(self, directory: Node, name: bytes, is_directory: bool) -> None:
        status = os.stat(name, dir_fd=directory.pin, follow_symlinks=False)
        if is_directory:
            os.rmdir(name, dir_fd=directory.pin)
        else:
            os.unlink(name, dir_fd=directory.pin)
        self.tree.forget(status)

    def _unlinkat(self, reader: Reader) -> bytes:
        fid, name, flags = reader.number(), check_name(reader.string()), reader.number()
        reader.end()
        self._changes()
        self._unlink(self._file(fid), name, bool(flags & AT_REMOVEDIR))
        return b""

    def _remove(self, reader: Reader) -> bytes:
        fid = reader.number()
        reader.end()
        node = self._file(fid)
        del self.fids[fid]  # whether it can be removed or not
        try:
            self._changes()
            directory, name = self.tree.parent(node)
            try:
                self._unlink(directory, name, stat.S_ISDIR(node.stat().st_mode))
            finally:
                directory.close()
        finally:
            node.close()
        return b""

    # --- extended attributes

    def _xattrwalk(self, reader: Reader) -> bytes:
        fid, new, name = reader.number(), reader.number(), reader.string()
        reader.end()
        node = self._file(fid)
        self._free(new)
        if not name:
            names = [os.fsencode(found) for found in os.listxattr(node.proc)]
            value = b"".join(found + b"\0" for found in names if found.startswith(USER_ATTRIBUTES))
        elif not name.startswith(USER_ATTRIBUTES) or stat.S_ISLNK(node.stat().st_mode):
            raise fail(errno.ENODATA)
        else:
            value = os.getxattr(node.proc, name)
        self.fids[new] = Node(os.dup(node.pin), node.path, attribute=value)
        return struct.pack("<Q", len(value))

    def _xattrcreate(self, reader: Reader) -> bytes:
        fid, name, (size, flags) = reader.number(), reader.string(), reader.take("QI")
        reader.end()
        self._changes()
        node = self._file(fid)
        if not name.startswith(USER_ATTRIBUTES):
            raise fail(errno.EOPNOTSUPP)
        if size > LARGEST_ATTRIBUTE or node.opened is not None:
            raise fail(errno.E2BIG if size > LARGEST_ATTRIBUTE else errno.EBUSY)
        node.creating = (name, size, flags)
        return b""

    def _set_attribute(self, node: Node) -> None:
        assert node.creating is not None
        name, size, flags = node.creating
        if len(node.written) != size:
            raise fail(errno.EINVAL)
        if not size and not flags:
            os.removexattr(node.proc, name)  # how a client removes one
        else:
            os.setxattr(node.proc, name, bytes(node.written), flags)

    # --- locks

    def _lock(self, reader: Reader) -> bytes:
        fid, _, _, _, _, _ = reader.take("IBIQQI")
        reader.string()
        reader.end()
        self._file(fid)
        return b"\0"  # granted

    def _getlock(self, reader: Reader) -> bytes:
        fid, _, start, length, process = reader.take("IBQQI")
        client = reader.string()
        reader.end()
        self._file(fid)
        return struct.pack("<BQQI", UNLOCKED, start, length, process) + pack_string(client)

    # --- state

    def save(self) -> dict[str, Any]:
        """The fids, as the names by which they are found again."""
        return {
            "message_size": self.message_size,
            "fids": {
                number: (node.path, node.flags if node.opened is not None else None)
                for number, node in self.fids.items()
                if node.attribute is None and node.creating is None
            },
        }

    def load(self, state: dict[str, Any]) -> None:
        """Finds the fids' files again; one that has gone is a fid that the client does not have."""
        self._drop_all()
        self.message_size = state["message_size"]
        for number, (path, flags) in state["fids"].items():
            try:
                node = self.tree.find(tuple(path))
            except OSError:
                continue
            try:
                if flags is not None:
                    self.tree.open(node, flags & ~0o1000)
            except OSError:
                node.close()
                continue
            self.fids[number] = node
