# cython: language_level=3
# VMRUN, VMLOAD, VMSAVE and their kin: handlers only, reached through the shared table.
