"""The errors that a person reads.  Each class's message is a sentence that says what is wrong with which input."""

from __future__ import annotations


class X86EmuError(Exception):
    """Base of every error raised on purpose by this package."""


class UserInputError(X86EmuError):
    """A file, an option or a value given by the user cannot be used; the message says why and what would work."""


class EmulationError(X86EmuError):
    """The guest met something that the engine does not model; names the bytes, the disassembly and the feature."""


class BusError(X86EmuError):
    """Two devices claim the same addresses, or a device was wired up with ranges or values that no bus has."""
