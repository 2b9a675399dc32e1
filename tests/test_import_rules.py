"""Who may know whom (docs/architecture.md): the imports and cimports of every module, read from its source.

Imports inside functions count, and so do those under TYPE_CHECKING: who names a type knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "x86emu"
SUFFIXES = (".py", ".pyx", ".pxd", ".pyi")
STATEMENT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import\b|c?import[ \t]+([\w., \t]+))", re.MULTILINE)
TEXTS = re.compile(r'"""(?:[^\\]|\\.)*?"""', re.DOTALL)

# area: what it may name of the package, besides itself.  "bus.platform" permits that module only.
RULES = {
    "isa": ("errors",),
    "bus": ("errors",),
    "core": ("bus.platform", "errors", "isa", "_generated"),
    "_core": ("core", "bus.platform", "bus.clock", "errors", "isa"),
    "devices": ("bus", "errors"),
    "storage": ("errors",),
    "display": ("errors",),
    "network": ("errors",),
    "sharing": ("errors",),
    "firmware": ("errors",),
    "serial_backends": ("errors",),
    "_gen": ("isa", "virt"),
    "virt": ("core.memory", "core.processor", "isa"),
    "errors": (),
    "machine": (
        "", "bus", "core", "_core", "devices", "display", "errors", "firmware", "isa", "network", "serial_backends",
        "sharing", "storage", "virt",
    ),  # fmt: skip
    "arguments": (),
    "conform": ("", "_core", "arguments", "bus", "core", "errors", "firmware", "isa", "machine"),
    "image_command": ("errors", "storage"),
    "explain_command": ("errors", "virt"),
    "display_backends": ("display", "errors", "machine", "serial_backends"),
    "monitor": ("", "bus", "core.memory", "core.processor", "errors", "isa", "machine", "serial_backends"),
    "boot_command": ("arguments", "display_backends", "errors", "firmware", "machine", "monitor", "serial_backends"),
    "bench": ("", "_core", "errors", "machine"),
    "cli": ("", "bench", "boot_command", "conform", "errors", "explain_command", "image_command"),
    "__main__": ("cli",),
    "": (),
}


def modules() -> Iterator[tuple[str, str, Path]]:
    """(area, module name without the package's, file) of every source file."""
    for path in sorted(PACKAGE.rglob("*")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if path.suffix in SUFFIXES and parts[0] != "_generated":
            if parts[-1] == "__init__":
                parts = parts[:-1]
            yield (parts[0] if parts else ""), ".".join(parts), path


def named(path: Path, module: str) -> Iterator[str]:
    """Modules of the package that a file imports, without the package's name; "" is the package itself."""
    text = TEXTS.sub('""', path.read_text(encoding="utf-8"))
    for source, plain in STATEMENT.findall(text):
        for name in [source] if source else [word.split()[0] for word in plain.split(",") if word.strip()]:
            if name.startswith("."):
                dots = len(name) - len(name.lstrip("."))
                base = ["x86emu", *module.split(".")][: -dots + (path.stem == "__init__") or None]
                name = ".".join([*base, name.lstrip(".")]).rstrip(".")
            if name == "x86emu":
                yield ""
            elif name.startswith("x86emu."):
                yield name.removeprefix("x86emu.")


def permitted(area: str, name: str) -> bool:
    return any(name == rule or rule and name.startswith(rule + ".") for rule in (area, *RULES[area]))


FILES = list(modules())


def test_every_area_has_a_rule() -> None:
    assert {area for area, _, _ in FILES} <= set(RULES)


@pytest.mark.parametrize("area", sorted({area for area, _, _ in FILES}))
def test_imports_keep_to_the_rules(area: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE.parent)} names x86emu.{name}"
        for where, module, path in FILES
        if where == area
        for name in named(path, module)
        if not permitted(area, name)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_reader_sees_every_form(tmp_path: Path) -> None:
    path = tmp_path / "sample.pyx"
    path.write_text(
        '"""import x86emu.not_this"""\nfrom x86emu.a cimport b\ncimport x86emu.c, x86emu.d as e\nimport os\n'
        "def f():\n    from x86emu.g.h import i\n    from .j import k\n    from ..l import m\nfrom x86emu import n\n"
    )
    assert list(named(path, "core.sample")) == ["a", "c", "d", "g.h", "core.j", "l", ""]


def test_devices_know_no_core_and_isa_knows_no_cpu() -> None:
    assert not permitted("devices", "core.memory")
    assert not permitted("devices", "machine.pc")
    assert not permitted("isa", "core.state")
    assert not permitted("core", "bus.spaces")
    assert permitted("core", "bus.platform")
