"""What every device model is: a name, a reset, and a state that can be saved and loaded.

A device knows offsets within its own ranges, its IRQ lines, a clock and a DMA port; the machine wires it. Handlers
have the form `read(offset, size) -> int` and `write(offset, size, value)`.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from x86emu.errors import UserInputError


class Device:
    """Base of the device models.

    `STATE` names the attributes that make up the device's saved state: plain values and containers of them. A device
    with events on the clock overrides `loaded()` to schedule them anew.
    """

    STATE: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def reset(self) -> None:
        """Brings the device to its state after the board's reset."""

    def save(self) -> dict[str, object]:
        """The state, as plain values that share nothing with the device."""
        return {key: copy.deepcopy(getattr(self, key)) for key in self.STATE}

    def load(self, state: dict[str, Any]) -> None:
        """Takes on a state that save() gave. Raises UserInputError where something is missing from it."""
        missing = [key for key in self.STATE if key not in state]
        if missing:
            raise UserInputError(f"the saved state of {self.name} lacks {', '.join(missing)}; it is of another version")
        for key in self.STATE:
            setattr(self, key, copy.deepcopy(state[key]))
        self.loaded()

    def loaded(self) -> None:
        """Called after load(): puts outputs and clock events in line with the state."""
