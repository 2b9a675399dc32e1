"""The 9p server from the client's side: every message, and everything a hostile client might try."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import struct
from pathlib import Path

import pytest

from tests.sharing.client import Client, text
from x86emu.errors import UserInputError
from x86emu.sharing import ShareServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    (share / "below" / "deeper").mkdir(parents=True)
    (share / "file").write_bytes(b"contents of a file")
    (share / "below" / "other").write_bytes(b"other")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    return share


@pytest.fixture
def client(folder: Path) -> Client:
    return Client(ShareServer(folder)).start()


def error_of(call: object, *arguments: object, **named: object) -> int:
    with pytest.raises(OSError) as caught:
        call(*arguments, **named)  # type: ignore[operator]
    assert caught.value.errno is not None or isinstance(caught.value, FileNotFoundError)
    return caught.value.errno or errno.ENOENT


def test_read_write_and_attributes(client: Client, folder: Path) -> None:
    fid = client.open("file", flags=2)
    assert client.read(fid) == b"contents of a file" and client.read(fid, 12, 1) == b"a"
    assert client.read(fid, 100) == b""
    assert client.write(fid, b"CON") == 3 and client.write(fid, b"!", 18) == 1
    client.raw(50, struct.pack("<II", fid, 0))
    client.raw(50, struct.pack("<II", fid, 1))
    assert (folder / "file").read_bytes() == b"CONtents of a file!"
    found = client.attributes(fid)
    assert found["size"] == 19 and stat.S_ISREG(found["mode"]) and found["nlink"] == 1
    client.clunk(fid)
    assert error_of(client.read, fid) == errno.EBADF


def test_setattr(client: Client, folder: Path) -> None:
    fid = client.walk("file")

    def set_attributes(valid: int, mode: int = 0, size: int = 0, mtime: int = 0) -> None:
        client.raw(26, struct.pack("<IIIIIQQQQQ", fid, valid, mode, 0, 0, size, 0, 0, mtime, 5))

    set_attributes(1, mode=0o6755)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o755  # no set-user-ID on the host
    set_attributes(8, size=3)
    assert (folder / "file").read_bytes() == b"con"
    set_attributes(0x120, mtime=1000)
    assert (folder / "file").stat().st_mtime_ns == 1000 * 10**9 + 5
    set_attributes(0x020)
    assert (folder / "file").stat().st_mtime > 10**9
    set_attributes(0x6, mode=0)  # ownership: as it is, without an error
    assert client.attributes(fid)["uid"] == os.getuid()


def test_create_make_and_remove(client: Client, folder: Path) -> None:
    fid = client.create("new", "below", mode=0o4600)
    assert client.write(fid, b"x") == 1
    assert (folder / "below" / "new").stat().st_mode & 0o7777 == 0o600
    assert error_of(client.create, "new", "below", flags=0o302) == errno.EEXIST
    client.clunk(client.create("new", "below", flags=0o1102))  # opens and truncates the one that is there
    assert (folder / "below" / "new").read_bytes() == b""
    client.raw(72, struct.pack("<I", client.root) + text("made") + struct.pack("<II", 0o755, 0))
    assert (folder / "made").is_dir()
    client.raw(76, struct.pack("<I", client.root) + text("made") + struct.pack("<I", 0x200))
    client.raw(76, struct.pack("<I", client.walk("below")) + text("new") + struct.pack("<I", 0))
    assert not (folder / "made").exists() and not (folder / "below" / "new").exists()
    gone = client.walk("file")
    client.raw(122, struct.pack("<I", gone))
    assert not (folder / "file").exists() and error_of(client.clunk, gone) == errno.EBADF
    assert error_of(client.raw, 122, struct.pack("<I", client.walk())) == errno.EBUSY


def test_links_and_nodes(client: Client, folder: Path) -> None:
    client.raw(16, struct.pack("<I", client.root) + text("link") + text("../secret") + bytes(4))
    assert os.readlink(folder / "link") == "../secret"
    fid = client.walk("link")
    assert client.raw(22, struct.pack("<I", fid)) == text("../secret")
    assert stat.S_ISLNK(client.attributes(fid)["mode"])
    client.raw(70, struct.pack("<II", client.walk("below"), client.walk("file")) + text("hard"))
    assert (folder / "below" / "hard").stat().st_ino == (folder / "file").stat().st_ino
    assert client.attributes(client.walk("below", "hard"))["qid"] == client.attributes(client.walk("file"))["qid"]

    def node(name: str, mode: int) -> None:
        client.raw(18, struct.pack("<I", client.root) + text(name) + struct.pack("<IIII", mode, 1, 3, 0))

    node("pipe", stat.S_IFIFO | 0o600)
    node("plain", stat.S_IFREG | 0o600)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert error_of(node, "zero", stat.S_IFCHR | 0o666) == errno.EPERM
    assert error_of(node, "disk", stat.S_IFBLK | 0o666) == errno.EPERM


def test_rename_moves_the_fids_along(client: Client, folder: Path) -> None:
    inside = client.walk("below", "deeper")
    body = struct.pack("<I", client.root) + text("below") + struct.pack("<I", client.root) + text("moved")
    client.raw(74, body)
    assert (folder / "moved" / "other").exists()
    up = client.walk("..", "other", fid=inside)
    assert client.attributes(up)["size"] == 5
    fid = client.walk("file")
    client.raw(20, struct.pack("<II", fid, client.walk("moved")) + text("file2"))
    assert (folder / "moved" / "file2").exists()
    above = client.walk("..", fid=client.walk("moved"))
    assert client.attributes(above)["qid"] == client.attributes(client.root)["qid"]
    into_itself = struct.pack("<I", client.root) + text("moved") + struct.pack("<I", client.walk("moved")) + text("x")
    assert error_of(client.raw, 74, into_itself) == errno.EINVAL


def test_reading_directories(client: Client, folder: Path) -> None:
    many = [f"file-{number:03}" for number in range(300)]
    for name in many:
        (folder / "below" / "deeper" / name).touch()
    fid = client.open("below", "deeper")
    assert client.names(fid) == [".", "..", *many]
    assert client.names(fid, count=100) == [".", "..", *many]
    assert error_of(client.raw, 40, struct.pack("<IQI", fid, 0, 10)) == errno.EINVAL
    assert error_of(client.raw, 40, struct.pack("<IQI", client.open("file"), 0, 100)) == errno.ENOTDIR
    data = client.raw(40, struct.pack("<IQI", client.open(), 0, 4096))[4:]
    assert data[:13] == client.attributes(client.root)["qid"]  # "." and ".." of the folder are itself
    assert data[25:38] == client.attributes(client.root)["qid"]


def test_extended_attributes(client: Client, folder: Path) -> None:
    try:
        os.setxattr(folder / "file", "user.host", b"1")
    except OSError:
        pytest.skip("this file system has no extended attributes")

    def create(name: str, value: bytes, size: int | None = None) -> None:
        fid = client.walk("file")
        size = len(value) if size is None else size
        client.raw(32, struct.pack("<I", fid) + text(name) + struct.pack("<QI", size, 0))
        if value:
            client.write(fid, value)
        client.clunk(fid)

    def get(name: str) -> bytes:
        fid = client.new()
        client.raw(30, struct.pack("<II", client.walk("file"), fid) + text(name))
        return client.read(fid)

    create("user.guest", b"two")
    assert os.getxattr(folder / "file", "user.guest") == b"two" and get("user.guest") == b"two"
    assert sorted(get("").split(b"\0")) == [b"", b"user.guest", b"user.host"]
    create("user.guest", b"")
    assert error_of(get, "user.guest") == errno.ENODATA
    assert error_of(get, "security.selinux") == errno.ENODATA
    assert error_of(create, "trusted.x", b"1") == errno.EOPNOTSUPP
    assert error_of(create, "user.short", b"1", 2) == errno.EINVAL
    assert error_of(create, "user.long", b"12", 1) == errno.EINVAL
    assert error_of(create, "user.huge", b"", 1 << 40) == errno.E2BIG


def test_locks_and_statfs(client: Client) -> None:
    fid = client.open("file", flags=2)
    lock = struct.pack("<IBIQQI", fid, 1, 0, 0, 0, 7) + text("host")
    assert client.raw(52, lock) == b"\0"
    asked = client.raw(54, struct.pack("<IBQQI", fid, 1, 5, 6, 7) + text("host"))
    assert asked == struct.pack("<BQQI", 2, 5, 6, 7) + text("host")
    found = client.raw(8, struct.pack("<I", fid))
    assert struct.unpack_from("<I", found) == (0x01021997,) and len(found) == 60
    assert client.raw(108, struct.pack("<H", 3)) == b""


def test_a_version_begins_anew(client: Client) -> None:
    fid = client.open("file")
    client.raw(100, struct.pack("<I", 8192) + text("9P2000.L"))
    assert error_of(client.read, fid) == errno.EBADF
    assert client.raw(100, struct.pack("<I", 8192) + text("9P2000.u"))[4:] == text("unknown")
    assert error_of(client.raw, 100, struct.pack("<I", 100) + text("9P2000.L")) == errno.EMSGSIZE
    assert error_of(client.raw, 102, struct.pack("<I", 5) + text("") + text("")) == errno.EOPNOTSUPP


# --- no way out


@pytest.mark.parametrize(
    "name", [b"/etc", b"a/b", b"below/../../secret", b"../secret", b"", b"a\0b", b"/", b"x" * 256, b"\xff/\xff"]
)
def test_names_that_are_more_than_a_name(client: Client, name: bytes) -> None:
    assert error_of(client.walk, name) in (errno.EINVAL, errno.ENAMETOOLONG)
    for kind, body in (
        (14, text(name) + struct.pack("<III", 0o102, 0o644, 0)), (72, text(name) + bytes(8)),
        (16, text(name) + text("t") + bytes(4)), (18, text(name) + bytes(16)), (76, text(name) + bytes(4)),
        (74, text(name) + struct.pack("<I", client.root) + text("n")),
        (74, text("file") + struct.pack("<I", client.root) + text(name)),
    ):  # fmt: skip
        body = struct.pack("<I", client.walk()) + body
        assert error_of(client.raw, kind, body) in (errno.EINVAL, errno.ENAMETOOLONG)


@pytest.mark.parametrize("name", [b".", b".."])
def test_dots_are_no_names_of_new_things(client: Client, folder: Path, name: bytes) -> None:
    for kind, body in (
        (14, text(name) + struct.pack("<III", 0o102, 0o644, 0)), (72, text(name) + bytes(8)),
        (16, text(name) + text("t") + bytes(4)), (76, text(name) + struct.pack("<I", 0x200)),
        (74, text(name) + struct.pack("<I", client.root) + text("n")),
        (70, b""),
    ):  # fmt: skip
        if kind == 70:
            body = struct.pack("<I", client.walk("file")) + text(name)
        assert error_of(client.raw, kind, struct.pack("<I", client.walk()) + body) == errno.EINVAL
    assert folder.exists()


def test_dots_lead_to_the_folder_and_no_further(client: Client) -> None:
    root = client.attributes(client.root)["qid"]
    assert client.attributes(client.walk(*[".."] * 16))["qid"] == root
    assert client.attributes(client.walk("below", "deeper", "..", "..", ".."))["qid"] == root
    assert error_of(client.walk, "..", "secret") == errno.ENOENT
    assert error_of(client.walk, "below", "..", "..", "outside") == errno.ENOENT
    assert error_of(client.walk, *["."] * 17) == errno.EINVAL


def test_links_are_not_followed(client: Client, folder: Path, tmp_path: Path) -> None:
    (folder / "up").symlink_to("..")
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "leak").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to("loop")
    (folder / "self").symlink_to("/proc/self/root")
    for names in (("up", "secret"), ("out", "x"), ("self", "etc")):
        assert error_of(client.walk, *names) in (errno.ENOTDIR, errno.ENOENT)
    for name in ("up", "out", "leak", "loop", "self"):
        fid = client.walk(name)
        assert error_of(client.raw, 12, struct.pack("<II", fid, 0)) == errno.ELOOP
        assert error_of(client.raw, 12, struct.pack("<II", fid, 0o1002)) == errno.ELOOP
        assert error_of(client.raw, 26, struct.pack("<IIIIIQQQQQ", fid, 8, 0, 0, 0, 0, 0, 0, 0, 0)) == errno.EINVAL
        into = struct.pack("<I", fid) + text("new") + struct.pack("<III", 0o102, 0o644, 0)
        assert error_of(client.raw, 14, into) == errno.ENOTDIR
        assert error_of(client.raw, 72, struct.pack("<I", fid) + text("new") + bytes(8)) == errno.ENOTDIR
    assert error_of(client.create, "leak") == errno.ELOOP  # O_CREAT on a link that is there
    assert (tmp_path / "secret").read_bytes() == b"secret" and not list((tmp_path / "outside").iterdir())
    mode = (tmp_path / "secret").stat().st_mode
    try:
        client.raw(26, struct.pack("<IIIIIQQQQQ", client.walk("leak"), 1, 0o777, 0, 0, 0, 0, 0, 0, 0))
    except OSError:
        pass
    client.raw(26, struct.pack("<IIIIIQQQQQ", client.walk("leak"), 0x120, 0, 0, 0, 0, 0, 0, 5, 0))
    assert (tmp_path / "secret").stat().st_mode == mode and (tmp_path / "secret").stat().st_mtime > 10


def test_a_directory_that_the_host_moves_out_does_not_lead_out(client: Client, folder: Path, tmp_path: Path) -> None:
    fid = client.walk("below", "deeper")
    (folder / "below").rename(tmp_path / "outside" / "below")
    assert error_of(client.walk, "..", "..", "secret", fid=fid) == errno.ENOENT
    assert error_of(client.walk, "..", fid=fid) == errno.ENOENT


def test_a_component_that_becomes_a_link(client: Client, folder: Path, tmp_path: Path) -> None:
    directory = client.walk("below")
    (folder / "below").rename(folder / "was-below")
    (folder / "below").symlink_to(tmp_path / "outside")
    client.raw(72, struct.pack("<I", directory) + text("made") + struct.pack("<II", 0o755, 0))
    assert (folder / "was-below" / "made").is_dir() and not list((tmp_path / "outside").iterdir())
    assert error_of(client.walk, "below", "x") in (errno.ENOTDIR, errno.ENOENT)


def test_pipes_sockets_and_devices_are_not_opened(client: Client, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)
    server.bind("socket")
    os.chdir(here)
    for name in ("pipe", "socket"):
        for flags in (0, 1, 2):
            assert error_of(client.open, name, flags=flags) == errno.EOPNOTSUPP
            assert error_of(client.create, name, flags=0o100 | flags) == errno.EOPNOTSUPP
    server.close()


def test_a_read_only_share_cannot_be_changed(folder: Path) -> None:
    (folder / "below" / "x").touch()
    before = sorted((path, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*"))
    client = Client(ShareServer(folder, read_only=True)).start()
    assert client.read(client.open("file")) == b"contents of a file"
    for flags in (1, 2, 0o1000):
        assert error_of(client.open, "file", flags=flags) == errno.EROFS
    root, fid = struct.pack("<I", client.root), struct.pack("<I", client.walk("file"))
    for kind, body in (
        (14, root + text("n") + struct.pack("<III", 0o102, 0o644, 0)), (72, root + text("n") + bytes(8)),
        (16, root + text("n") + text("t") + bytes(4)), (18, root + text("n") + bytes(16)),
        (70, root + fid + text("n")), (74, root + text("file") + root + text("n")), (20, fid + root + text("n")),
        (76, root + text("file") + bytes(4)), (26, fid + struct.pack("<IIIIQQQQQ", 0x1E9, 0, 0, 0, 0, 0, 0, 0, 0)),
        (32, fid + text("user.x") + struct.pack("<QI", 1, 0)), (118, fid + struct.pack("<QI", 0, 1) + b"x"),
        (122, fid),
    ):  # fmt: skip
        assert error_of(client.raw, kind, body) == errno.EROFS
    assert before == sorted((path, path.lstat().st_mtime_ns, path.lstat().st_mode) for path in folder.rglob("*"))


# --- rubbish


def test_fids_that_are_taken_or_not_there(client: Client) -> None:
    attach = struct.pack("<II", client.root, 0) + text("") + text("") + bytes(4)
    assert error_of(client.raw, 104, attach) == errno.EINVAL
    to_itself = struct.pack("<IIH", client.root, client.root, 1) + text("nothing")
    assert error_of(client.raw, 110, to_itself) == errno.ENOENT
    taken = client.walk("file")
    assert error_of(client.raw, 110, struct.pack("<IIH", client.root, taken, 0)) == errno.EINVAL
    assert error_of(client.raw, 110, struct.pack("<IIH", client.root, 0xFFFF_FFFF, 0)) == errno.EINVAL
    for kind in (8, 12, 22, 24, 116, 120, 122):
        body = struct.pack("<I", 9999) + {12: bytes(4), 24: bytes(8), 116: bytes(12)}.get(kind, b"")
        assert error_of(client.raw, kind, body) == errno.EBADF
    assert error_of(client.read, taken) == errno.EBADF  # not open
    opened = client.open("file")
    assert error_of(client.write, opened, b"x") == errno.EBADF
    assert error_of(client.walk, fid=opened) == errno.EBUSY
    assert error_of(client.raw, 12, struct.pack("<II", opened, 0)) == errno.EBUSY


def test_a_client_cannot_use_up_the_descriptors(client: Client) -> None:
    client.server.limit = 20
    with pytest.raises(OSError, match="Too many open files"):
        for _ in range(100):
            client.walk("file")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Too many open files"):
        client.walk("file")
    assert len(os.listdir("/proc/self/fd")) == before
    client.server.close()
    assert len(os.listdir("/proc/self/fd")) <= before - 20


def test_offsets_beyond_all_bounds(client: Client) -> None:
    fid = client.open("file", flags=2)
    for offset in (1 << 63, (1 << 64) - 1):
        assert error_of(client.read, fid, offset) == errno.EINVAL
        assert error_of(client.write, fid, b"x", offset) == errno.EINVAL
    assert client.read(fid, 0, 0xFFFF_FFFF) == b"contents of a file"


def test_messages_that_are_none(client: Client) -> None:
    handle = client.server.handle
    for request in (b"", b"\0" * 6, struct.pack("<IBH", 7, 120, 1) + b"x", struct.pack("<IBH", 1 << 31, 120, 1)):
        assert handle(request, 100)[4] == 7
    assert error_of(client.raw, 120, b"\0\0\0") == errno.EINVAL
    assert error_of(client.raw, 120, struct.pack("<IB", client.root, 0)) == errno.EINVAL
    assert error_of(client.raw, 110, struct.pack("<IIHH", client.root, 99, 1, 500) + b"short") == errno.EINVAL
    assert error_of(client.raw, 118, struct.pack("<IQI", client.root, 0, 1000) + b"short") == errno.EINVAL
    for kind in range(256):
        if kind not in client.server.handlers:
            assert error_of(client.raw, kind, bytes(20)) == errno.EOPNOTSUPP


def test_an_answer_fits_the_room(client: Client, folder: Path) -> None:
    (folder / "file").write_bytes(bytes(100_000))
    fid = client.open("file")
    request = struct.pack("<IBHIQI", 23, 116, 1, fid, 0, 1 << 30)
    for room in (11, 12, 100, 8192, 1 << 20):
        assert len(client.server.handle(request, room)) == min(room, 8192)


def test_random_messages_harm_nothing(client: Client, folder: Path, tmp_path: Path) -> None:
    numbers = random.Random(9)
    words = [b"file", b"below", b"..", b".", b"", b"deeper", b"new", b"/etc/passwd", b"\xff", b"a" * 300, b"up"]
    (folder / "up").symlink_to("../outside")
    for _ in range(4000):
        kind = numbers.choice([*client.server.handlers, numbers.randrange(256)])
        if kind == 100 and numbers.random() < 0.95:
            continue
        body = b""
        for _ in range(numbers.randrange(7)):
            choice = numbers.randrange(5)
            if choice == 0:
                body += text(numbers.choice(words))
            elif choice == 1:
                body += struct.pack("<I", numbers.randrange(12))
            elif choice == 2:
                body += struct.pack("<Q", numbers.choice([0, 1, 4096, 1 << 40, (1 << 64) - 1]))
            elif choice == 3:
                body += struct.pack("<H", numbers.randrange(4))
            else:
                body += numbers.randbytes(numbers.randrange(9))
        answer = client.server.handle(struct.pack("<IBH", len(body) + 7, kind, 1) + body, 8192)
        assert struct.unpack_from("<I", answer)[0] == len(answer) and answer[4] in (kind + 1, 7)
    assert (tmp_path / "secret").read_bytes() == b"secret" and not list((tmp_path / "outside").iterdir())


# --- the rest


def test_save_and_load(client: Client, folder: Path) -> None:
    fid, unopened, gone = client.open("file", flags=0o1002), client.walk("below"), client.walk("below", "other")
    client.write(fid, b"kept")
    state = client.server.save()
    (folder / "below" / "other").unlink()
    other = Client(ShareServer(folder))
    other.server.load(state)
    assert other.read(fid) == b"kept" and stat.S_ISDIR(other.attributes(unopened)["mode"])
    assert error_of(other.attributes, gone) == errno.EBADF


def test_what_cannot_be_shared(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "nothing"):
        with pytest.raises(UserInputError, match="is no folder that can be shared"):
            ShareServer(tmp_path / name)
