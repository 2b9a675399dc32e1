"""The screen, keys, mouse and the serial line of a machine in a browser."""
