# cython: language_level=3
# Port input and output: handlers only, reached through the shared table.
