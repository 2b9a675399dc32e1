"""Networks that a guest's Ethernet devices can be plugged into: one inside this process, the host's tap, and a dump."""
