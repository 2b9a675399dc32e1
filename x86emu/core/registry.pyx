# cython: language_level=3
"""Handlers by name: every handler module puts its functions here when it is imported; the decoder looks them up."""
from libc.stdint cimport uintptr_t
from x86emu.core.state cimport handler_t

cdef dict _handlers = {}


cdef int register_handler(bytes name, handler_t function) except -1:
    _handlers[name.decode()] = <uintptr_t>function
    return 0


cdef handler_t find_handler(str name) except NULL:
    cdef object found = _handlers.get(name)
    if found is None:
        raise ImportError(f"the decode tables name the handler {name}, which no core module defines; build again")
    return <handler_t><uintptr_t>found


def handler_names() -> list:
    """Names of all handlers registered so far, sorted."""
    return sorted(_handlers)


def handler_address(name: str) -> int:
    """Where a handler's machine code is, in this process; KeyError where there is none of that name."""
    return _handlers[name]
