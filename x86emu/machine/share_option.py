"""What `--share` says: DIR[,tag=NAME][,readonly]; `,,` is a comma in DIR."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError


@dataclass(frozen=True)
class ShareOption:
    """One folder of the host, mounted by its tag; None is "share", "share1" and so on."""

    path: Path
    tag: str | None = None
    read_only: bool = False


def parse_share(text: str) -> ShareOption:
    """The option's text.  UserInputError where it has a part that is not understood."""
    name, *parts = text.replace(",,", "\0").split(",")
    name = name.replace("\0", ",")
    if not name:
        raise UserInputError(f"--share {text}: names no folder; shared,tag=work would do")
    tag, read_only = None, False
    for part in parts:
        key, given, value = part.partition("=")
        if key == "tag" and value:
            tag = value
        elif key == "readonly" and (not given or value in ("on", "off")):
            read_only = value != "off"
        else:
            raise UserInputError(
                f"--share {text}: {part!r} is not understood; tag=NAME and readonly are (a comma in the folder's name"
                " is written twice)"
            )
    return ShareOption(Path(name), tag, read_only)


def tags(shares: tuple[ShareOption, ...]) -> list[str]:
    """Their tags, in order.  UserInputError where two are the same."""
    found: list[str] = []
    for number, share in enumerate(shares):
        tag = share.tag if share.tag is not None else "share" + (str(number) if number else "")
        if tag in found:
            raise UserInputError(f"--share {share.path}: another folder has the tag {tag}; give one with tag=NAME")
        found.append(tag)
    return found
