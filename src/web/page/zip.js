// Many small files in one: a ZIP archive without compression, as every system opens it.
const FLAG_UTF8 = 0x0800;
const VERSION = 20;

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = table[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** Numbers one after the other, little end first: [[bytes, value], …]. */
function pack(fields) {
  const out = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
  let at = 0;
  for (const [width, value] of fields) {
    for (let i = 0; i < width; i++) out[at++] = Math.floor(value / 256 ** i) & 255;
  }
  return out;
}

/** The time as DOS kept it. */
function stamp(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  return [time, ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate()];
}

/** What a name from outside may be inside an archive: no folder, no control character. */
export function plainName(name) {
  return name.replace(/[\u0000-\u001f\u007f/\\:*?"<>|]/g, '_').replace(/^\.+/, '_') || '_';
}

/** A name that is not taken yet: "talk.txt", "talk (2).txt", … */
export function freeName(stem, extension, taken) {
  for (let n = 1; ; n++) {
    const name = plainName(`${stem}${n > 1 ? ` (${n})` : ''}.${extension}`);
    if (taken.has(name.toLowerCase())) continue;
    taken.add(name.toLowerCase());
    return name;
  }
}

/** `files`: [{name, bytes}]; their names are plain and each its own. Returns the parts. */
export function makeZip(files, date = new Date()) {
  const [time, day] = stamp(date);
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, bytes } of files) {
    const title = new TextEncoder().encode(name);
    const common = [[2, VERSION], [2, FLAG_UTF8], [2, 0], [2, time], [2, day], [4, crc32(bytes)],
      [4, bytes.length], [4, bytes.length], [2, title.length], [2, 0]];
    const head = pack([[4, 0x04034b50], ...common]);
    directory.push(pack([[4, 0x02014b50], [2, VERSION], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), title);
    parts.push(head, title, bytes);
    at += head.length + title.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = pack([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, length], [4, at], [2, 0]]);
  return [...parts, ...directory, end];
}
