# cython: language_level=3
# State saving: handlers only, reached through the shared table.
