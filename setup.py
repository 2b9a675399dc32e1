"""Builds the Cython extensions: every .pyx below x86emu/ is one, named after its path.

Handler chaining needs gcc's sibling-call optimisation, hence -O2 whatever CPython was built with; the
accesses to guest memory through casted pointers need -fno-strict-aliasing.
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
os.chdir(ROOT)

COMPILE_ARGS = ["-O2", "-fwrapv", "-fno-strict-aliasing", "-g0", "-fno-plt", "-w"]
COMPILE_TIME_ARGS = os.environ.get("X86EMU_CFLAGS", "").split()


def generate() -> None:
    """Runs the build-time generators: instruction rows to decode tables and handler forms."""
    generator = ROOT / "x86emu" / "_gen" / "build.py"
    if generator.exists():
        from x86emu._gen.build import generate_all

        generate_all(ROOT / "x86emu")


def extensions() -> list[Extension]:
    found = []
    for path in sorted((ROOT / "x86emu").rglob("*.pyx")):
        relative = path.relative_to(ROOT).with_suffix("")
        found.append(
            Extension(
                ".".join(relative.parts),
                [str(path.relative_to(ROOT))],
                extra_compile_args=COMPILE_ARGS + COMPILE_TIME_ARGS,
                extra_link_args=[] if os.environ.get("X86EMU_SYMBOLS") else ["-s"],  # symbols are for profilers
            )
        )
    return found


JOBS = int(os.environ.get("X86EMU_JOBS", os.cpu_count() or 1))
generate()
setup(
    packages=find_packages(include=["x86emu", "x86emu.*"]),
    ext_modules=cythonize(
        extensions(),
        nthreads=JOBS if JOBS > 1 else 0,
        cache=os.environ.get("X86EMU_CYTHON_CACHE") or False,  # a directory shared between checkouts
        include_path=["x86emu/_generated", "x86emu/core"],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "emit_code_comments": False,
        },
    ),
    options={"build_ext": {"parallel": JOBS}},
)
