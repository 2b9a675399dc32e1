# cython: language_level=3
from x86emu.core.x87 cimport *
