// Runs a disk image in v86 (npm package v86) without a screen; the serial port goes to standard output.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const { V86 } = await import(path.join(here, "node_modules/v86/build/libv86.mjs"));
const buffer = (file) => { const b = fs.readFileSync(file); return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); };

const emulator = new V86({
  wasm_path: path.join(here, "node_modules/v86/build/v86.wasm"),
  memory_size: 256 << 20,
  bios: { buffer: buffer("/usr/share/seabios/bios.bin") },
  hda: { buffer: buffer(process.argv[2]) },
  autostart: true,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
emulator.add_listener("serial0-output-byte", (byte) => process.stdout.write(Buffer.from([byte])));
