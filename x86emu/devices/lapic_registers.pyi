# Only for cimport: the local APIC's state has no Python face of its own (see lapic.pyi).
