"""Loaders of what a user gives to the machine: BIOS images, option ROMs, kernels of three formats."""
