"""Build-time generators: instruction rows to decode tables, handler families to Cython text.

Their output is not committed.
"""
