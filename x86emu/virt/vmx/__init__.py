"""Virtual machine extensions as data: VMCS fields, capabilities, checks, exit reasons (Intel SDM volume 3C)."""
