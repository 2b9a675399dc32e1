# cython: language_level=3
# Numbers of the processor features (x86emu/isa/features.py) that index Cpu.features.
include "features.pxi"
