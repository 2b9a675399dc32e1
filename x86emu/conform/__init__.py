"""The conformance harness: runs suites of instruction cases on an engine and says what is wrong where.

Nothing here is part of the emulator: it knows the instruction table (x86emu.isa) and, through the small interface of
x86emu.conform.engine, whatever implementation is to be measured.
"""
