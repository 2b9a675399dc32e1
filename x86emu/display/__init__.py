"""What is on a screen, as pixels: a display adapter's state (adapter.py), its rendering (render.py), PNG files.

Rendering needs NumPy, whose import costs more than all else of a short run: it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from x86emu.display.adapter import AdapterState, VbeMode

if TYPE_CHECKING:
    from x86emu.display.picture import Picture

__all__ = ["AdapterState", "Picture", "VbeMode"]


def __getattr__(name: str) -> Any:
    if name == "Picture":
        from x86emu.display.picture import Picture

        return Picture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
