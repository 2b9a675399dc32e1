"""The engines that come with the harness: x86emu itself, Unicorn, and the host's processor."""
