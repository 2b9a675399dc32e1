"""A folder of the host for the guest: a 9P2000.L server without a transport."""

from x86emu.sharing.server import ShareServer

__all__ = ["ShareServer"]
