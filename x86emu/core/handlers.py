"""Imports every module that defines instruction handlers, so that they are registered before decoding begins."""

import importlib

from x86emu._generated.handler_modules import MODULES

for _module in MODULES:
    importlib.import_module(f"x86emu.core.{_module}")
