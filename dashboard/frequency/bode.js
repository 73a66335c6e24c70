// The transfer function at every JPEG quality: a map and its curves, redrawn from one message while the slider moves.
// Layout of the message: dashboard/component/__init__.py.

const panels = new WeakMap(); // mount point -> Panel; Streamlit calls the default export again for every message
const LEFT = 56, BOTTOM = 48, TOP = 8, RIGHT = 8;

export default function (component) {
  const { parentElement, data } = component;
  let panel = panels.get(parentElement);
  if (!panel) panels.set(parentElement, (panel = new Panel(parentElement.querySelector(".bode"))));
  panel.receive(unpack(data));
}

class Panel {
  constructor(root) {
    this.root = root;
    root.innerHTML = `<div class="slider"><span class="name"></span><output></output><input type="range" min="0" step="1">
      <div class="ticks"></div></div><p class="note"></p>
      <div class="panels"><figure class="map"><h3></h3><div class="field"><canvas></canvas><div class="down"></div>
      <div class="across"></div><div class="title"></div></div><div class="bar"><i></i><div></div></div>
      <div class="read"></div></figure>
      <figure class="chart"><h3></h3><svg role="img"></svg><div class="legend"></div></figure></div>`;
    this.find = (selector) => root.querySelector(selector);
    this.input = this.find("input");
    this.input.addEventListener("input", () => {
      this.moved = true;
      this.scheduled ||= requestAnimationFrame(() => { this.scheduled = 0; this.draw(); });
    });
    const canvas = this.find("canvas"), svg = this.find("svg");
    canvas.addEventListener("pointermove", (event) => this.point(event, canvas));
    canvas.addEventListener("pointerleave", () => { this.pixel = null; this.read(); });
    svg.addEventListener("pointermove", (event) => this.pointRing(event, svg));
    svg.addEventListener("pointerleave", () => { this.ring = null; this.draw(); });
    new ResizeObserver(() => this.data && this.layout()).observe(root);
  }

  receive(data) {
    const fresh = !this.data || this.data.positions.length !== data.positions.length ||
      this.data.start !== data.start;
    this.data = data;
    this.number = new Intl.NumberFormat(data.language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    this.cycles = new Intl.NumberFormat(data.language, { maximumSignificantDigits: 2 });
    this.input.max = data.positions.length - 1;
    if (fresh || !this.moved) this.input.value = data.start; // a hand on the slider stays where it is
    const { words } = data, set = (selector, text) => { this.find(selector).textContent = text; };
    set(".slider .name", words.slider); set(".map h3", words.map); set(".chart h3", words.chart);
    this.input.setAttribute("aria-label", words.slider);
    this.find("svg").setAttribute("aria-label", words.alt);
    this.find("canvas").setAttribute("aria-label", words.alt);
    this.find(".slider").hidden = this.find(".note").hidden = data.positions.length < 2;
    this.layout();
  }

  // What changes only with the message or the width.
  layout() {
    const { positions, known, height, width, words, map, arrays } = this.data;
    this.find(".ticks").innerHTML = positions.map(({ name }, k) =>
      `<span${known[k] < 0 ? ' class="waiting"' : ""}>${escape(name)}</span>`).join("");
    const marks = (side) => [-0.5, -0.25, 0, 0.25].map((share) => share * side);
    const place = (value, side) => 100 * (value + Math.floor(side / 2) + 0.5) / side;
    this.find(".down").innerHTML = `<b>${escape(words.mapY)}</b>` + marks(height).map((v) =>
      `<span style="top:${place(v, height)}%">${format(v)}</span>`).join("");
    this.find(".across").innerHTML = marks(width).map((v) =>
      `<span style="left:${place(v, width)}%">${format(v)}</span>`).join("");
    this.find(".field .title").textContent = words.mapX;
    const colour = (share) => `rgb(${[...arrays.viridis.subarray(3 * Math.round(255 * share), 3 * Math.round(255 * share) + 3)]})`;
    this.find(".bar i").style.background =
      `linear-gradient(90deg, ${[...Array(17).keys()].map((k) => colour(k / 16)).join(", ")})`;
    this.find(".bar div").innerHTML = [0, 0.25, 0.5, 0.75, 1].map((share) =>
      `<span>${format(Math.round(map[0] + share * (map[1] - map[0])))}${share === 1 ? " dB" : ""}</span>`).join("");
    this.draw();
  }

  // The place on the slider that is known and nearest to where it stands.
  at() {
    const { known } = this.data, wanted = Number(this.input.value);
    const order = known.map((row, k) => [row < 0 ? Infinity : Math.abs(k - wanted), k]).sort((a, b) => a[0] - b[0]);
    return order[0][1];
  }

  draw() {
    const { positions, known, height, width, map, arrays } = this.data;
    const at = this.at(), size = height * width;
    this.row = known[at];
    this.find("output").textContent = positions[at].note ? `${this.data.words.quality} ${positions[at].name}` : this.data.words.reference;
    this.find(".note").textContent = positions[at].note || this.data.words.plain;
    this.values = arrays.maps.subarray(this.row * size, (this.row + 1) * size);
    const canvas = this.find("canvas");
    if (canvas.width !== width) { canvas.width = width; canvas.height = height; this.pixels = null; }
    const context = canvas.getContext("2d");
    this.pixels ??= context.createImageData(width, height);
    for (let i = 0; i < size; i++) {
      const share = Math.min(1, Math.max(0, (this.values[i] - map[0]) / (map[1] - map[0])));
      const c = 3 * Math.round(255 * share);
      for (let k = 0; k < 3; k++) this.pixels.data[4 * i + k] = arrays.viridis[c + k];
      this.pixels.data[4 * i + 3] = 255;
    }
    context.putImageData(this.pixels, 0, 0);
    this.read();
    this.drawChart(at);
  }

  drawChart(at) {
    const { names, cycles, range, words, colours, known, arrays, positions } = this.data;
    const svg = this.find("svg"), width = svg.clientWidth, height = svg.clientHeight, rings = cycles.length;
    if (!width) return;
    const x = this.x = (f) => LEFT + (Math.log(f / cycles[0]) / Math.log(cycles[rings - 1] / cycles[0])) * (width - LEFT - RIGHT);
    const y = (db) => TOP + ((range[1] - db) / (range[1] - range[0])) * (height - TOP - BOTTOM);
    const step = range[1] - range[0] > 30 ? 10 : 5;
    let content = `<clipPath id="plot"><rect x="${LEFT}" y="${TOP - 2}" width="${width - LEFT}" height="${height - TOP - BOTTOM + 4}"/></clipPath>`;
    for (let db = Math.ceil(range[0] / step) * step; db <= range[1]; db += step)
      content += `<line class="grid" x1="${LEFT}" x2="${width - RIGHT}" y1="${y(db)}" y2="${y(db)}"/>` +
        `<text x="${LEFT - 8}" y="${y(db) + 4}" text-anchor="end">${format(db)}</text>`;
    for (const f of [0.05, 0.1, 0.2, 0.3, 0.5])
      content += `<line class="grid" x1="${x(f)}" x2="${x(f)}" y1="${TOP}" y2="${height - BOTTOM}"/>` +
        `<text x="${x(f)}" y="${height - BOTTOM + 18}" text-anchor="${f === 0.5 ? "end" : "middle"}" dx="${f === 0.5 ? 6 : 0}">${this.cycles.format(f)}</text>`;
    content += `<text class="axis" x="${(LEFT + width) / 2}" y="${height - 6}" text-anchor="middle">${escape(words.x)}</text>` +
      `<text class="axis" transform="translate(14 ${(height - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escape(words.y)}</text>`;
    const path = (row, k) => "M" + cycles.map((f, r) =>
      `${x(f).toFixed(1)} ${y(Math.max(range[0] - 20, arrays.curves[(row * names.length + k) * rings + r])).toFixed(1)}`).join("L");
    const plain = known[positions.length - 1], compared = plain >= 0 && plain !== this.row;
    content += `<g clip-path="url(#plot)">`;
    names.forEach((_, k) => {
      if (compared) content += `<path class="reference" stroke="${colours[k]}" d="${path(plain, k)}"/>`;
      content += `<path stroke="${colours[k]}" d="${path(this.row, k)}"/>`;
    });
    content += "</g>";
    if (this.ring != null) content += `<line class="cursor" x1="${x(cycles[this.ring])}" x2="${x(cycles[this.ring])}" y1="${TOP}" y2="${height - BOTTOM}"/>`;
    svg.innerHTML = content;
    const value = (row, k) => this.ring == null ? "" :
      ` <b>${format(this.number.format(Math.max(-99, arrays.curves[(row * names.length + k) * rings + this.ring])))} dB</b>`;
    this.find(".legend").innerHTML = names.map((name, k) =>
      `<span><i style="border-color:${colours[k]}"></i>${escape(name)}${value(this.row, k)}</span>`).join("") +
      (positions.length > 1 ? `<span><i class="reference"></i>${escape(words.reference)}</span>` : "") +
      (this.ring == null ? "" : `<span>${this.cycles.format(cycles[this.ring])} ${escape(words.unit)}</span>`);
  }

  pointRing(event, svg) {
    const at = event.clientX - svg.getBoundingClientRect().left, { cycles } = this.data;
    this.ring = cycles.map((f, r) => [Math.abs(this.x(f) - at), r]).sort((a, b) => a[0] - b[0])[0][1];
    this.scheduled ||= requestAnimationFrame(() => { this.scheduled = 0; this.draw(); });
  }

  point(event, canvas) {
    const box = canvas.getBoundingClientRect(), { height, width } = this.data;
    const within = (share, side) => Math.min(side - 1, Math.max(0, Math.floor(share * side)));
    this.pixel = [within((event.clientY - box.top) / box.height, height), within((event.clientX - box.left) / box.width, width)];
    this.read();
  }

  read() {
    const { height, width } = this.data;
    this.find(".read").textContent = this.pixel ? `(${format(this.pixel[1] - Math.floor(width / 2))}, ${
      format(this.pixel[0] - Math.floor(height / 2))}): ${
      format(this.number.format(Math.max(-99, this.values[this.pixel[0] * width + this.pixel[1]])))} dB` : "";
  }
}

const format = (value) => String(value).replace("-", "\u2212");
