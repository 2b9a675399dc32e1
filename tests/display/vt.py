"""As much of a terminal as the drawing needs: what is on it after control sequences (ECMA-48)."""

from __future__ import annotations

import re


class Terminal:
    """Characters and their SGR parameters; `cursor` (column, row) and whether it is seen."""

    def __init__(self, columns: int, rows: int) -> None:
        self.cells = [[(" ", "")] * columns for _ in range(rows)]
        self.columns, self.rows = columns, rows
        self.column = self.row = 0
        self.style = ""
        self.cursor_shown = True
        self.alternate = False

    def write(self, text: str) -> None:
        for control, parameters, final, character in re.findall(r"(\x1b\[([?0-9;]*)([A-Za-z]))|(.)", text, re.DOTALL):
            if control:
                self._control(parameters, final)
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self.row += 1
            else:
                assert character >= " " and self.column < self.columns and self.row < self.rows, repr(character)
                self.cells[self.row][self.column] = (character, self.style)
                self.column += 1

    def _control(self, parameters: str, final: str) -> None:
        if final == "H":
            row, column = map(int, parameters.split(";")) if parameters else (1, 1)
            self.row, self.column = row - 1, column - 1
        elif final == "m":
            self.style = parameters.removeprefix("0").removeprefix(";")
        elif final == "J":
            self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]
        elif parameters == "?25":
            self.cursor_shown = final == "h"
        elif parameters == "?1049":
            self.alternate = final == "h"
        else:
            raise AssertionError(f"{parameters}{final} is not understood")

    def text(self) -> list[str]:
        return ["".join(character for character, _ in line).rstrip() for line in self.cells]
