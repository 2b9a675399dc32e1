"""A line with editing, history and completion, for a terminal in raw mode: bytes in, bytes to show out.

Keys are those of a shell: arrows, Home, End, Delete, Ctrl-A E B F D K U W L P N, Tab; Ctrl-C drops the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HISTORY_LINES = 500
LONGEST_ESCAPE = 12
ESCAPE_KEYS = {b"[A": "up", b"[B": "down", b"[C": "right", b"[D": "left", b"[H": "home", b"[F": "end", b"OH": "home",
               b"OF": "end", b"[1~": "home", b"[4~": "end", b"[3~": "delete", b"OA": "up", b"OB": "down",
               b"OC": "right", b"OD": "left"}  # fmt: skip
CONTROL_KEYS = {0x01: "home", 0x02: "left", 0x03: "cancel", 0x04: "delete", 0x05: "end", 0x06: "right",
                0x08: "backspace", 0x09: "complete", 0x0B: "kill to end", 0x0C: "clear", 0x0E: "down", 0x10: "up",
                0x15: "kill to begin", 0x17: "kill word", 0x7F: "backspace"}  # fmt: skip


class LineEditor:
    """`feed(bytes)` gives the lines that are complete; what the terminal shall show goes to `write`.

    `complete(text)` gives the words that could stand where the line `text` ends.
    """

    def __init__(
        self, prompt: str, write: Callable[[bytes], object], complete: Callable[[str], Sequence[str]] | None = None
    ) -> None:
        self.prompt = prompt
        self.write = write
        self.complete = complete
        self.text = ""
        self.at = 0
        self.history: list[str] = []
        self._recalled = 0  # lines back from the newest
        self._draft = ""  # what was being typed before older lines were looked at
        self._escape: bytes | None = None
        self._after_return = False

    def show(self) -> None:
        """Draws prompt and line."""
        back = len(self.text) - self.at
        move = f"\x1b[{back}D" if back else ""
        self.write(f"\r\x1b[K{self.prompt}{self.text}{move}".encode())

    def feed(self, data: bytes) -> list[str]:
        """Takes keys; returns the lines that Return has ended."""
        lines = []
        for byte in data:
            if self._escape is not None:
                self._escape_byte(byte)
            elif byte in b"\r\n":
                if byte == 0x0A and self._after_return:
                    self._after_return = False
                    continue
                self._after_return = byte == 0x0D
                lines.append(self._enter())
                continue
            elif byte == 0x1B:
                self._escape = b""
            elif byte in CONTROL_KEYS:
                self._key(CONTROL_KEYS[byte])
            elif 0x20 <= byte < 0x7F:
                self._insert(chr(byte))
            self._after_return = False
        return lines

    def _enter(self) -> str:
        self.write(b"\r\n")
        line, self.text, self.at, self._recalled = self.text, "", 0, 0
        if line.strip() and (not self.history or self.history[-1] != line):
            self.history.append(line)
            del self.history[:-HISTORY_LINES]
        return line

    def _escape_byte(self, byte: int) -> None:
        assert self._escape is not None
        self._escape += bytes((byte,))
        if self._escape in ESCAPE_KEYS:
            self._key(ESCAPE_KEYS[self._escape])
        elif len(self._escape) < LONGEST_ESCAPE and (byte in b"[O" or chr(byte).isdigit() or byte == ord(";")):
            return
        self._escape = None

    def _insert(self, text: str) -> None:
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)
        if self.at == len(self.text):
            self.write(text.encode())
        else:
            self.show()

    def _key(self, key: str) -> None:
        if key == "left":
            self.at = max(self.at - 1, 0)
        elif key == "right":
            self.at = min(self.at + 1, len(self.text))
        elif key in ("home", "end"):
            self.at = 0 if key == "home" else len(self.text)
        elif key == "backspace" and self.at:
            self.text = self.text[: self.at - 1] + self.text[self.at :]
            self.at -= 1
        elif key == "delete":
            self.text = self.text[: self.at] + self.text[self.at + 1 :]
        elif key == "kill to end":
            self.text = self.text[: self.at]
        elif key == "kill to begin":
            self.text, self.at = self.text[self.at :], 0
        elif key == "kill word":
            kept = self.text[: self.at].rstrip()
            kept = kept[: kept.rfind(" ") + 1]
            self.text, self.at = kept + self.text[self.at :], len(kept)
        elif key == "clear":
            self.write(b"\x1b[2J\x1b[H")
        elif key == "cancel":
            self.write(b"^C\r\n")
            self.text, self.at, self._recalled = "", 0, 0
        elif key in ("up", "down"):
            self._recall(1 if key == "up" else -1)
        elif key == "complete":
            self._complete()
        self.show()

    def _recall(self, step: int) -> None:
        recalled = self._recalled + step
        if not 0 <= recalled <= len(self.history):
            return
        if not self._recalled:
            self._draft = self.text
        self._recalled = recalled
        self.text = self.history[-recalled] if recalled else self._draft
        self.at = len(self.text)

    def _complete(self) -> None:
        if self.complete is None:
            return
        before = self.text[: self.at]
        words = self.complete(before)
        typed = before[before.rfind(" ") + 1 :]
        common = words[0] if words else ""
        for word in words:
            while not word.startswith(common):
                common = common[:-1]
        if len(words) == 1:
            common += " "
        if len(common) > len(typed):
            self.text = before[: len(before) - len(typed)] + common + self.text[self.at :]
            self.at += len(common) - len(typed)
        elif len(words) > 1:
            self.write(("\r\n" + "  ".join(words) + "\r\n").encode())
