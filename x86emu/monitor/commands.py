"""The monitor's commands as a table.  A command gets its words and gives the text to show.

UserInputError and OSError are shown as the sentences that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.errors import UserInputError
from x86emu.machine import sleep
from x86emu.machine.run import StopReason
from x86emu.monitor import memory_dump
from x86emu.monitor.info import SUBJECTS
from x86emu.monitor.paging import translate
from x86emu.monitor.values import Format, evaluate, parse_format, show

if TYPE_CHECKING:
    from x86emu.core.processor import Processor
    from x86emu.machine import Machine

MIB = 1 << 20


@dataclass
class Context:
    """What a session keeps between commands."""

    machine: Machine
    selected: int = 0
    format: Format = field(default_factory=Format)

    @property
    def cpu(self) -> Processor:
        """The selected processor."""
        return self.machine.cpus[self.selected]

    def number(self, text: str) -> int:
        """An expression's value."""
        return evaluate(text, self.cpu)


@dataclass(frozen=True)
class Command:
    """One command: how it is called, what it does in words, and the function."""

    arguments: str
    words: str
    run: Callable[[Context, list[str]], str]
    least: int = 0
    most: int | None = 0
    complete: Callable[[Context], Sequence[str]] | None = None


def _format(context: Context, arguments: list[str]) -> tuple[Format, str]:
    """The format that may come first, and the rest as one expression."""
    format = Format(1, context.format.letter, context.format.size)
    if arguments and arguments[0].startswith("/"):
        format = parse_format(arguments[0], context.format)
        arguments = arguments[1:]
        context.format = Format(1, format.letter, format.size)
    if not arguments:
        raise UserInputError("What is missing is a number; 0x7c00 or $rsp+8 would do.")
    return format, " ".join(arguments)


def _help(context: Context, arguments: list[str]) -> str:
    if arguments:
        name, command = find(arguments[0])
        return f"{name} {command.arguments}".rstrip() + f" -- {command.words}"
    width = max(len(f"{name} {command.arguments}") for name, command in COMMANDS.items())
    lines = [f"{f'{name} {command.arguments}':<{width}}  {command.words}" for name, command in sorted(COMMANDS.items())]
    return "\n".join(lines)


def _info(context: Context, arguments: list[str]) -> str:
    if not arguments:
        return "\n".join(f"info {name:<10} {_first_line(subject)}" for name, subject in SUBJECTS.items())
    subject = SUBJECTS.get(arguments[0])
    if subject is None:
        raise UserInputError(f"There is nothing to tell of {arguments[0]!r}; there is: {', '.join(SUBJECTS)}.")
    return subject(context.machine, context.cpu)


def _first_line(subject: Callable[..., object]) -> str:
    return (subject.__doc__ or "").strip()


def _stop(context: Context, arguments: list[str]) -> str:
    context.machine.pause()
    return ""


def _cont(context: Context, arguments: list[str]) -> str:
    context.machine.resume()
    return ""


def _reset(context: Context, arguments: list[str]) -> str:
    context.machine.reset()
    return ""


def _powerdown(context: Context, arguments: list[str]) -> str:
    context.machine.press_power_button()
    return ""


def _wakeup(context: Context, arguments: list[str]) -> str:
    if not context.machine.suspended:
        raise UserInputError("The machine is not asleep.")
    sleep.wake(context.machine)
    return ""


def _quit(context: Context, arguments: list[str]) -> str:
    context.machine.stop(StopReason.QUIT)
    return ""


def _eject(context: Context, arguments: list[str]) -> str:
    force = arguments[0] == "-f"
    names = arguments[1:] if force else arguments
    if len(names) != 1:
        raise UserInputError("eject [-f] DRIVE takes one drive, such as cd0.")
    context.machine.removable.eject(names[0], force=force)
    return ""


def _change(context: Context, arguments: list[str]) -> str:
    context.machine.removable.change(arguments[0], " ".join(arguments[1:]))
    return ""


def _screendump(context: Context, arguments: list[str]) -> str:
    path = Path(" ".join(arguments))
    picture = context.machine.screenshot(None if path.suffix == ".ppm" else path)
    if path.suffix == ".ppm":
        path.write_bytes(f"P6\n{picture.width} {picture.height}\n255\n".encode() + picture.rgb().tobytes())
    return ""


def _sendkey(context: Context, arguments: list[str]) -> str:
    context.machine.keyboard.send(*arguments)
    return ""


def _mouse_move(context: Context, arguments: list[str]) -> str:
    try:
        context.machine.mouse.move(*(int(word) for word in arguments))
    except ValueError:
        raise UserInputError("mouse_move takes whole numbers: right, down, and wheel steps.") from None
    return ""


def _mouse_button(context: Context, arguments: list[str]) -> str:
    context.machine.mouse.set_buttons(context.number(arguments[0]) & 7)
    return ""


def _x(context: Context, arguments: list[str]) -> str:
    format, address = _format(context, arguments)
    return memory_dump.dump(
        memory_dump.Reader(context.machine, context.cpu, False), context.number(address), format
    )  # fmt: skip


def _xp(context: Context, arguments: list[str]) -> str:
    format, address = _format(context, arguments)
    return memory_dump.dump(memory_dump.Reader(context.machine, context.cpu, True), context.number(address), format)


def _print(context: Context, arguments: list[str]) -> str:
    format, text = _format(context, arguments)
    if format.letter == "i":
        raise UserInputError("A number is no instruction; x/i shows those of memory.")
    return show(context.number(text), Format(1, format.letter, 8 if format.letter != "c" else 1))


def _gva2gpa(context: Context, arguments: list[str]) -> str:
    address = context.number(" ".join(arguments))
    physical = translate(context.cpu, context.machine.memory, address)
    if physical is None:
        raise UserInputError(f"The page of {address:#x} is not present.")
    return f"{physical:#x}"


def _port(context: Context, text: str) -> int:
    port = context.number(text)
    if port > 0xFFFF:
        raise UserInputError(f"{port:#x} is no port; 0 to 0xffff are.")
    return port


def _i(context: Context, arguments: list[str]) -> str:
    format = Format(1, "x", 1)
    if arguments[0].startswith("/"):
        format, arguments = parse_format(arguments[0], format), arguments[1:]
    if len(arguments) != 1 or format.size > 4:
        raise UserInputError("i takes a port, and a format of up to four bytes: i /b 0x3fd")
    port = _port(context, arguments[0])
    return f"port {port:#06x}: {show(context.machine.ports.read(port, format.size), format)}"


def _o(context: Context, arguments: list[str]) -> str:
    format = Format(1, "x", 1)
    if arguments[0].startswith("/"):
        format, arguments = parse_format(arguments[0], format), arguments[1:]
    if len(arguments) != 2 or format.size > 4:
        raise UserInputError("o takes a port and a value, and a format of up to four bytes: o /b 0x3f8 0x41")
    value = context.number(arguments[1]) & (1 << 8 * format.size) - 1
    context.machine.ports.write(_port(context, arguments[0]), format.size, value)
    return ""


def _cpu(context: Context, arguments: list[str]) -> str:
    index = context.number(arguments[0])
    if index >= len(context.machine.cpus):
        raise UserInputError(f"There is no processor {index}; there are 0 to {len(context.machine.cpus) - 1}.")
    context.selected = index
    return ""


def _nmi(context: Context, arguments: list[str]) -> str:
    for signals in context.machine.signals:
        signals.pulse_nmi()
    return ""


def _balloon(context: Context, arguments: list[str]) -> str:
    machine = context.machine
    if machine.balloon is None:
        raise UserInputError("There is no balloon; start the machine with --balloon.")
    left = context.number(arguments[0]) * MIB
    if not 0 < left <= machine.config.memory:
        raise UserInputError(f"The guest can be left with 1 to {machine.config.memory // MIB} MiB.")
    machine.balloon.set_target(machine.config.memory - left)
    return ""


def _drives(context: Context) -> list[str]:
    return list(context.machine.removable.drives)


def _names(context: Context) -> list[str]:
    return sorted(COMMANDS)


COMMANDS: dict[str, Command] = {
    "help": Command("[COMMAND]", "this list, or one command", _help, 0, 1, _names),
    "info": Command("[SUBJECT]", "what the machine is doing; alone, the subjects", _info, 0, 1,
                    lambda context: list(SUBJECTS)),
    "stop": Command("", "no further instruction runs", _stop),
    "cont": Command("", "the machine goes on", _cont),
    "system_reset": Command("", "the reset button", _reset),
    "system_powerdown": Command("", "the power button: asks the guest to shut down", _powerdown),
    "system_wakeup": Command("", "wakes a machine that sleeps (S3)", _wakeup),
    "quit": Command("", "ends the run at once", _quit),
    "eject": Command("[-f] DRIVE", "takes the medium out; -f even where the guest has locked it", _eject, 1, 2,
                     _drives),
    "change": Command("DRIVE FILE", "puts another medium in", _change, 2, None, _drives),
    "screendump": Command("FILE", "the screen as a picture, .png or .ppm", _screendump, 1, None),
    "sendkey": Command("KEYS...", "strikes keys: ctrl-alt-delete, ret, f1", _sendkey, 1, None),
    "mouse_move": Command("RIGHT DOWN [WHEEL]", "moves the mouse", _mouse_move, 2, 3),
    "mouse_button": Command("BUTTONS", "1 left, 2 right, 4 middle, added up; 0 lets go", _mouse_button, 1, 1),
    "x": Command("[/FORMAT] ADDRESS", "memory by linear address: x /8xw $rsp, x /10i $rip", _x, 1, None),
    "xp": Command("[/FORMAT] ADDRESS", "memory by physical address", _xp, 1, None),
    "print": Command("[/FORMAT] NUMBER", "what an expression comes to: print /x $cr3+8", _print, 1, None),
    "gva2gpa": Command("ADDRESS", "the physical address of a linear one", _gva2gpa, 1, None),
    "i": Command("[/FORMAT] PORT", "reads a port, with all that this does", _i, 1, 2),
    "o": Command("[/FORMAT] PORT VALUE", "writes a port", _o, 2, 3),
    "cpu": Command("NUMBER", "selects the processor that info, x and print look at", _cpu, 1, 1),
    "nmi": Command("", "a non-maskable interrupt at every processor", _nmi),
    "balloon": Command("MIB", "has the balloon leave the guest so much memory", _balloon, 1, 1),
}  # fmt: skip
ALIASES = {"?": "help", "s": "stop", "c": "cont", "q": "quit", "p": "print", "reset": "system_reset",
           "powerdown": "system_powerdown", "poweroff": "system_powerdown"}  # fmt: skip


def find(word: str) -> tuple[str, Command]:
    """A command by its name, another name, or the only beginning.  UserInputError where there is none."""
    name = ALIASES.get(word, word)
    if name not in COMMANDS:
        begun = sorted(known for known in COMMANDS if known.startswith(word))
        if len(begun) != 1:
            hint = f"it could be {', '.join(begun)}" if begun else "help lists the commands"
            raise UserInputError(f"There is no command {word!r}; {hint}.")
        name = begun[0]
    return name, COMMANDS[name]


def execute(context: Context, line: str) -> str:
    """Runs a line; the text to show.  UserInputError or OSError where it cannot be done."""
    words = line.split()
    if not words:
        return ""
    word, slash, rest = words[0].partition("/")  # x/10i as well as x /10i
    arguments = ([f"/{rest}"] if slash and word else []) + words[1:]
    name, command = find(word if slash and word else words[0])
    if len(arguments) < command.least or command.most is not None and len(arguments) > command.most:
        raise UserInputError(f"That is not how it is called: {name} {command.arguments}".rstrip())
    return command.run(context, arguments)


def completions(context: Context, text: str) -> list[str]:
    """Words that could stand where `text` ends."""
    words = text.split()
    if not words or len(words) == 1 and not text.endswith(" "):
        return [name for name in sorted(COMMANDS) if name.startswith(words[0] if words else "")]
    try:
        _, command = find(words[0])
    except UserInputError:
        return []
    begun = "" if text.endswith(" ") else words[-1]
    return [word for word in command.complete(context) if word.startswith(begun)] if command.complete else []
