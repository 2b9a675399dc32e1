"""Reading the files that a user names, with errors that a person can act on."""

from __future__ import annotations

from pathlib import Path

from x86emu.errors import UserInputError


def read_user_file(path: Path, what: str) -> bytes:
    """The bytes of ``path``; UserInputError, naming ``what`` would do, where it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserInputError(f"{path}: there is no such file; give the path of {what}") from None
    except IsADirectoryError:
        raise UserInputError(f"{path}: is a directory; give the path of {what}") from None
    except PermissionError:
        raise UserInputError(f"{path}: may not be read by this user; give the path of {what} that may") from None
    except OSError as error:
        raise UserInputError(f"{path}: cannot be read ({error.strerror}); give the path of {what}") from None
    if not data:
        raise UserInputError(f"{path}: is empty; give the path of {what}")
    return data
