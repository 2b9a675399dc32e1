# cython: language_level=3
# See the .pxd.
"""Calls of devices' Python handlers."""
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject* PyObject_Vectorcall(PyObject* callable, PyObject** arguments, size_t count, PyObject* names)
    PyObject* new_number "PyLong_FromUnsignedLongLong"(unsigned long long value)
    unsigned long long number_mask "PyLong_AsUnsignedLongLongMask"(PyObject* number)
    PyObject* PyErr_Occurred()
    void Py_XDECREF(PyObject* reference)

_small_numbers = tuple(range(256))
cdef PyObject* small_numbers[256]
for _n in range(256):
    small_numbers[<int>_n] = <PyObject*>_small_numbers[_n]


cdef inline PyObject* as_number(uint64_t value, PyObject** made) noexcept:
    """`value` as a Python number; made[0] is what to give back, or NULL. NULL: no memory, with the exception set."""
    made[0] = NULL
    if value < 256:
        return small_numbers[value]
    made[0] = new_number(value)
    return made[0]


cdef bint call_read(object handler, uint64_t offset, int size, uint64_t* value) noexcept:
    cdef PyObject* made
    cdef PyObject* result = NULL
    cdef PyObject* arguments[3]
    arguments[1] = as_number(offset, &made)
    arguments[2] = small_numbers[size]
    if arguments[1] != NULL:
        result = PyObject_Vectorcall(<PyObject*>handler, &arguments[1], 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    Py_XDECREF(made)
    if result == NULL:
        return False
    value[0] = number_mask(result)
    Py_XDECREF(result)
    if value[0] == 0xFFFFFFFFFFFFFFFFULL and PyErr_Occurred() != NULL:
        return False
    value[0] &= size_mask(size)
    return True


cdef bint call_write(object handler, uint64_t offset, int size, uint64_t value) noexcept:
    cdef PyObject* made_offset
    cdef PyObject* made_value
    cdef PyObject* result = NULL
    cdef PyObject* arguments[4]
    arguments[1] = as_number(offset, &made_offset)
    arguments[2] = small_numbers[size]
    arguments[3] = as_number(value, &made_value)
    if arguments[1] != NULL and arguments[3] != NULL:
        result = PyObject_Vectorcall(<PyObject*>handler, &arguments[1], 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    Py_XDECREF(made_offset)
    Py_XDECREF(made_value)
    Py_XDECREF(result)
    return result != NULL
