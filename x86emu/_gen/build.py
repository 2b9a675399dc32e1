"""Runs every generator and writes x86emu/_generated/, touching only files whose text changed.

Three kinds of output:
* `<name>.pxi` from each forms_<module>.py: families of handlers that nobody wants to type;
* `register_<module>.pxi` for each core module: puts its handlers into the registry by name;
* `decode_tables.py`: the instruction rows compiled into the records that core/decode.pyx reads.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from pathlib import Path

from x86emu._gen import decode_tables

HANDLER = re.compile(r"^cdef void (\w+)\(Cpu\* c, Insn\* i\) noexcept nogil:", re.MULTILINE)
INCLUDE = re.compile(r'^include "([\w.]+)"', re.MULTILINE)


def write_if_changed(path: Path, text: str) -> None:
    """Leaves the time stamp alone where nothing changed, so that only what must be is rebuilt."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def generate_forms(output: Path) -> None:
    """Writes what every forms_<module>.py beside this file generates."""
    package = importlib.import_module("x86emu._gen")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if module.name.startswith("forms_"):
            produced: dict[str, str] = importlib.import_module(f"x86emu._gen.{module.name}").generate()
            for name, text in produced.items():
                write_if_changed(output / name, text)


def handlers_of(module: Path, output: Path) -> list[str]:
    """Names of the handlers that a core module defines, in itself or in what it includes."""
    text = module.read_text(encoding="utf-8")
    names = HANDLER.findall(text)
    for included in INCLUDE.findall(text):
        path = output / included
        if path.exists() and not included.startswith("register_"):
            names += HANDLER.findall(path.read_text(encoding="utf-8"))
    return names


def generate_registration(core: Path, output: Path) -> list[str]:
    """Writes register_<module>.pxi for every module that includes it; returns all handler names."""
    everything: list[str] = []
    modules: list[str] = []
    for module in sorted(core.glob("*.pyx")):
        if f'include "register_{module.stem}.pxi"' not in module.read_text(encoding="utf-8"):
            continue
        names = handlers_of(module, output)
        doubles = {name for name in names if names.count(name) > 1} | (set(names) & set(everything))
        if doubles:
            raise ValueError(f"{module.name}: handlers defined twice: {', '.join(sorted(doubles))}")
        everything += names
        modules.append(module.stem)
        lines = ["from x86emu.core.registry cimport register_handler as _register", "cdef _register_handlers():"]
        lines += [f'    _register(b"{name}", {name})' for name in names] or ["    pass"]
        lines.append("_register_handlers()")
        write_if_changed(output / f"register_{module.stem}.pxi", "\n".join(lines) + "\n")
    text = '"""Generated: the core modules that define handlers."""\n\nMODULES = ' + repr(modules) + "\n"
    write_if_changed(output / "handler_modules.py", text)
    return everything


def generate_all(package: Path) -> None:
    """Everything, for the package directory x86emu/."""
    output = package / "_generated"
    loop_form = int(os.environ.get("X86EMU_LOOP_FORM", "0"))
    write_if_changed(output / "__init__.py", '"""Generated at build time; not committed."""\n')
    write_if_changed(output / "build_config.pxi", f"cdef enum:\n    LOOP_FORM = {loop_form}\n")
    generate_forms(output)
    names = generate_registration(package / "core", output)
    text, missing = decode_tables.generate(set(names))
    write_if_changed(output / "decode_tables.py", text)
    if missing:
        shown = "\n  ".join(missing[:60])
        print(f"x86emu: {len(missing)} operand forms have no handler and decode to #UD:\n  {shown}")
        if os.environ.get("X86EMU_STRICT"):
            raise SystemExit(1)
