// What the live components share. Layout of a message: uint32 length of the header, the header (JSON), then the arrays
// that it describes. Put before each component's own script.

const KINDS = { u8: Uint8Array, i8: Int8Array, f32: Float32Array, i32: Int32Array };

function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const start = bytes.byteOffset + header.base;
  const copy = bytes.buffer.slice(start, bytes.byteOffset + bytes.byteLength); // aligned for Float32Array
  const arrays = {};
  for (const [name, { kind, offset, count }] of Object.entries(header.arrays))
    arrays[name] = new KINDS[kind](copy, offset, count);
  return { ...header, arrays };
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const fill = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);

function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

function setHTML(element, html) {
  if (element.written === html) return false;
  element.written = element.innerHTML = html;
  return true;
}

function luminance(colour) {
  const context = (luminance.context ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }));
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}
