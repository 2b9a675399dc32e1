"use strict";
// The browser's side of the screen: pictures come as PNG rectangles, keys and mouse go as JSON.

const body = document.body;
const canvas = document.getElementById("screen");
const context = canvas.getContext("2d");
const state = document.getElementById("state");
const serial = document.getElementById("serial");
const RECTANGLE = 1, SERIAL = 2;
const WHEEL_STEP = 50;

const scheme = location.protocol === "https:" ? "wss" : "ws";
const socket = new WebSocket(`${scheme}://${location.host}/socket?token=${encodeURIComponent(body.dataset.token)}`);
socket.binaryType = "arraybuffer";

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// --- what comes

let drawing = Promise.resolve();  // rectangles are drawn in the order in which they came

function draw(buffer) {
  const header = new DataView(buffer);
  const x = header.getUint16(1, true), y = header.getUint16(3, true);
  const picture = createImageBitmap(new Blob([new Uint8Array(buffer, 5)], {type: "image/png"}),
                                    {colorSpaceConversion: "none"});
  drawing = drawing.then(() => picture).then((bitmap) => {
    context.drawImage(bitmap, x, y);
    bitmap.close();
  });
}

function command(message) {
  if ("size" in message) {
    drawing = drawing.then(() => { [canvas.width, canvas.height] = message.size; });
  } else if ("frame" in message) {
    drawing = drawing.then(() => {
      canvas.dataset.frame = message.frame;
      send({shown: message.frame});
    });
  }
}

socket.onopen = () => { state.textContent = "connected"; canvas.focus(); };
socket.onclose = () => { state.textContent = "the machine has ended or the connection was lost"; };
socket.onmessage = (event) => {
  if (typeof event.data === "string") command(JSON.parse(event.data));
  else if (new Uint8Array(event.data)[0] === RECTANGLE) draw(event.data);
  else if (new Uint8Array(event.data)[0] === SERIAL) terminal.write(decoder.decode(new Uint8Array(event.data, 1), {stream: true}));
};

// --- keys and mouse

const held = new Set();

function releaseAll() {
  for (const code of held) send({key: code, down: false});
  held.clear();
}

canvas.addEventListener("keydown", (event) => {
  event.preventDefault();
  if (event.repeat) return;  // the guest's own keyboard repeats
  held.add(event.code);
  send({key: event.code, down: true});
});
canvas.addEventListener("keyup", (event) => {
  event.preventDefault();
  held.delete(event.code);
  send({key: event.code, down: false});
});
canvas.addEventListener("blur", releaseAll);
window.addEventListener("blur", releaseAll);

function captured() { return document.pointerLockElement === canvas; }

document.getElementById("reset-keys").onclick = () => { send({strike: "ctrl-alt-delete"}); canvas.focus(); };
document.getElementById("capture").onclick = () => { canvas.focus(); canvas.requestPointerLock(); };
canvas.addEventListener("mousedown", (event) => {
  event.preventDefault();
  canvas.focus();
  if (captured()) send({buttons: event.buttons & 7});
});
window.addEventListener("mouseup", (event) => { if (captured()) send({buttons: event.buttons & 7}); });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

let moved = [0, 0], wheel = 0, reporting = false;

function report() {
  reporting = false;
  const steps = Math.trunc(wheel / WHEEL_STEP);
  wheel -= steps * WHEEL_STEP;
  if (moved[0] || moved[1] || steps) send({move: [moved[0], moved[1], steps]});
  moved = [0, 0];
}
function reportSoon() {
  if (!reporting) { reporting = true; setTimeout(report, 16); }
}
canvas.addEventListener("mousemove", (event) => {
  if (!captured()) return;
  moved[0] += event.movementX;
  moved[1] += event.movementY;
  reportSoon();
});
canvas.addEventListener("wheel", (event) => {
  if (!captured()) return;
  event.preventDefault();
  wheel += event.deltaY;
  reportSoon();
}, {passive: false});

function showSoon() {  // however many pieces have come
  if (!terminal.waiting) { terminal.waiting = true; setTimeout(() => terminal.show(), 30); }
}

// --- the serial line: a small terminal (ECMA-48: cursor movement, erasing; colours are left out)

const decoder = new TextDecoder();
const KEPT_LINES = 2000;
const KEYS = {Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", ArrowUp: "\x1b[A", ArrowDown: "\x1b[B",
              ArrowRight: "\x1b[C", ArrowLeft: "\x1b[D", Home: "\x1b[H", End: "\x1b[F", Delete: "\x1b[3~"};

const terminal = {
  lines: [""], row: 0, column: 0, sequence: null, top: 0, waiting: false,

  put(character) {
    const line = this.lines[this.row].padEnd(this.column);
    this.lines[this.row] = line.slice(0, this.column) + character + line.slice(this.column + 1);
    this.column += 1;
  },
  down(count) {
    this.row += count;
    while (this.lines.length <= this.row) this.lines.push("");
    const surplus = this.lines.length - KEPT_LINES;
    if (surplus > 0) { this.lines.splice(0, surplus); this.row -= surplus; }
    this.top = Math.max(this.top, this.lines.length - 25, 0);
    this.top = Math.min(this.top, this.lines.length - 1);
  },
  control(sequence) {
    const kind = sequence.at(-1);
    const numbers = sequence.slice(1, -1).replace(/^\?/, "").split(";").map((text) => parseInt(text, 10) || 0);
    const count = Math.max(numbers[0], 1);
    if (kind === "A") this.row = Math.max(this.row - count, this.top);
    else if (kind === "B") this.down(count > 200 ? 200 : count);
    else if (kind === "C") this.column = Math.min(this.column + count, 500);
    else if (kind === "D") this.column = Math.max(this.column - count, 0);
    else if (kind === "G") this.column = Math.min(count - 1, 500);
    else if (kind === "H" || kind === "f") {
      this.row = this.top;
      this.down(Math.min(count - 1, 200));
      this.column = Math.min(Math.max(numbers[1] || 1, 1) - 1, 500);
    } else if (kind === "K") {
      const line = this.lines[this.row];
      this.lines[this.row] = numbers[0] === 0 ? line.slice(0, this.column)
        : numbers[0] === 1 ? " ".repeat(this.column + 1) + line.slice(this.column + 1) : "";
    } else if (kind === "J" && numbers[0] >= 2) {
      for (let row = this.top; row < this.lines.length; row++) this.lines[row] = "";
    } else if (kind === "J" && numbers[0] === 0) {
      this.lines[this.row] = this.lines[this.row].slice(0, this.column);
      this.lines.length = this.row + 1;
    } else if (kind === "P") {
      const line = this.lines[this.row];
      this.lines[this.row] = line.slice(0, this.column) + line.slice(this.column + count);
    } else if (kind === "n" && numbers[0] === 6) {
      send({serial: `\x1b[${this.row - this.top + 1};${this.column + 1}R`});
    }
  },
  write(text) {
    for (const character of text) {
      if (this.sequence !== null) {
        this.sequence += character;
        const first = this.sequence[0];
        if (first === "[" && this.sequence.length > 1 && /[@-~]/.test(character)) {
          this.control(this.sequence);
          this.sequence = null;
        } else if (first === "]" ? character === "\x07" : first !== "[" && !/[()#]$/.test(this.sequence)) {
          this.sequence = null;
        } else if (this.sequence.length > 64) this.sequence = null;
      } else if (character === "\x1b") this.sequence = "";
      else if (character === "\r") this.column = 0;
      else if (character === "\n") this.down(1);
      else if (character === "\b") this.column = Math.max(this.column - 1, 0);
      else if (character === "\t") this.column = (this.column | 7) + 1;
      else if (character >= " ") this.put(character);
    }
    showSoon();
  },
  show() {
    this.waiting = false;
    const atEnd = serial.scrollTop + serial.clientHeight >= serial.scrollHeight - 8;
    serial.textContent = this.lines.join("\n");
    if (atEnd) serial.scrollTop = serial.scrollHeight;
  },
};

serial.addEventListener("keydown", (event) => {
  if (event.metaKey || event.altKey) return;
  let text = KEYS[event.key];
  if (text === undefined && event.key.length === 1) {
    const code = event.key.toUpperCase().charCodeAt(0);
    text = event.ctrlKey ? (code >= 64 && code < 96 ? String.fromCharCode(code - 64) : undefined) : event.key;
  }
  if (text === undefined) return;
  event.preventDefault();
  send({serial: text});
});
serial.addEventListener("paste", (event) => {
  event.preventDefault();
  send({serial: event.clipboardData.getData("text").replace(/\n/g, "\r")});
});
