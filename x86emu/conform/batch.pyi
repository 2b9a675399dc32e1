"""Runs a batch of conformance cases on one processor of the engine (a Cython module)."""

from x86emu._core import Engine
from x86emu.conform.records import Layout, Records

class BatchRunner:
    """One processor set up for user mode, and where the mapped pages lie in its physical memory (all in bytes)."""

    def __init__(self, engine: Engine, layout: Layout, code_physical: int, data_physical: int) -> None: ...
    def execute(self, instructions: int) -> tuple[int, int]:
        """Runs from the registers as they are; returns (vector or -1, CR2 of a page fault)."""
    def execute_real(self, instructions: int) -> None:
        """Runs in real mode; an exception is delivered, which counts with its instruction. Ends early at HLT."""
    def run(self, cases: Records) -> Records:
        """Outcomes of an array of cases. Raises ValueError for a case outside the mapped pages."""
