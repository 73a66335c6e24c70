// JPEG's five steps: the slider chooses among what the message holds for each quality, nothing is computed anew.

const labs = new WeakMap(); // mount point -> Lab; Streamlit calls the default export again for every message

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let lab = labs.get(parentElement);
  if (!lab) labs.set(parentElement, (lab = new Lab(parentElement.querySelector(".jpeg"))));
  lab.send = (value) => setStateValue("release", value);
  lab.receive(unpack(data));
  return () => clearTimeout(lab.pending);
}

class Lab {
  constructor(root) {
    this.root = root;
    this.slider = root.querySelector("input");
    this.slider.addEventListener("input", () => this.schedule());
    this.slider.addEventListener("change", () => {
      clearTimeout(this.pending);
      this.pending = setTimeout(() => this.send(+this.slider.value), 120);
    });
    this.watcher = new ResizeObserver(() => this.data && this.layout());
    this.watcher.observe(root);
    this.themes = new MutationObserver(() => this.data && this.layout());
    this.themes.observe(document.documentElement, { attributes: true, attributeFilter: ["style", "class"] });
  }

  receive(data) {
    const fresh = !this.data || this.data.arrays.original.some((value, i) => value !== data.arrays.original[i]);
    this.data = data;
    this.percent = new Intl.NumberFormat(data.language, { style: "percent", maximumFractionDigits: 0 });
    this.whole = new Intl.NumberFormat(data.language);
    this.tenth = new Intl.NumberFormat(data.language, { maximumFractionDigits: 1 });
    if (!this.root.dataset.begun) { this.slider.value = data.quality; this.root.dataset.begun = "yes"; }
    if (fresh || this.block >= this.blocks()) this.block = this.liveliest();
    this.root.hidden = false;
    this.build();
    this.layout();
  }

  blocks() {
    const [rows, columns] = this.data.planes[0].blocks;
    return rows * columns;
  }

  // The block with most to lose: the largest sum of coefficients besides the mean.
  liveliest() {
    const values = this.data.arrays.coefficients0;
    let best = 0, most = -1;
    for (let b = 0; b < this.blocks(); b++) {
      let sum = 0;
      for (let i = 1; i < 64; i++) sum += Math.abs(values[64 * b + i]);
      if (sum > most) [best, most] = [b, sum];
    }
    return best;
  }

  // What changes only with the message: the rooms of the five steps.
  build() {
    const { text, planes } = this.data, grey = planes.length === 1;
    const pair = grey ? "" : `<div class="pair">${["Cb", "Cr"].map((name) =>
      `<figure><canvas class="${name}"></canvas><figcaption>${name}</figcaption></figure>`).join("")}</div>`;
    const step = (k, title, body, note) => `<li class="${k > 2 && k < 5 ? "pick" : ""}"><h4><i>${k}</i>${escape(title)}</h4>` +
      `<div class="big"><canvas class="main"></canvas><div class="mark"></div></div>${body}<p>${note}</p></li>`;
    this.root.querySelector(".steps").innerHTML =
      step(1, grey ? text.step1grey : text.step1, pair, escape(grey ? text.original : text.luminance)) +
      step(2, grey ? text.step2grey : text.step2, pair, escape(grey ? text.original : text.thinned)) +
      step(3, text.step3, "", escape(text.coefficients)) +
      step(4, text.step4, "", `<span class="kept"></span>`) +
      step(5, text.step5, "", `<span class="size"></span>`);
    const items = [...this.root.querySelectorAll(".steps li")];
    this.mains = items.map((item) => item.querySelector(".main"));
    this.marks = items.map((item) => item.querySelector(".mark"));
    this.pairs = items.slice(0, 2).map((item) => ["Cb", "Cr"].map((name) => item.querySelector(`.${name}`)));
    this.mains.forEach((canvas, k) => {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", items[k].querySelector("h4").textContent);
      if (k === 2 || k === 3) canvas.addEventListener("click", (event) => this.choose(event, canvas));
    });
    const set = (selector, value) => { this.root.querySelector(selector).textContent = value; };
    set(".slider .name", text.quality);
    set(".one h3", text.block);
    this.root.querySelector(".numbers").innerHTML = [text.before, text.table, text.after, text.restored].map((title) =>
      `<div><h4>${escape(title)}</h4><div class="grid">${"<span></span>".repeat(64)}</div></div>`).join("");
    this.cells = [...this.root.querySelectorAll(".grid")].map((grid) => [...grid.children]);
  }

  choose(event, canvas) {
    const box = canvas.getBoundingClientRect(), [rows, columns] = this.data.planes[0].blocks;
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
    this.block = Math.min(rows - 1, row) * columns + Math.min(columns - 1, column);
    this.layout();
  }

  layout() {
    const style = getComputedStyle(this.root);
    const dark = luminance(style.getPropertyValue("--st-background-color").trim()) < 0.5;
    this.hues = dark ? this.data.hues.dark : this.data.hues.light;
    this.scale = dark ? this.data.arrays.divergingDark : this.data.arrays.divergingLight;
    const ticks = this.root.querySelector(".ticks"), thumb = 24, span = ticks.clientWidth - thumb;
    ticks.innerHTML = [1, 25, 50, 75, 100].map((q) => {
      const x = thumb / 2 + ((q - 1) / 99) * span;
      return `<line x1="${x}" x2="${x}" y1="-8" y2="-3"/><text x="${x}" y="12" text-anchor="middle">${q}</text>`;
    }).join("");
    this.still();
    this.draw();
  }

  schedule() {
    if (!this.scheduled) this.scheduled = requestAnimationFrame(() => { this.scheduled = 0; this.draw(); });
  }

  // Steps 1 to 3 do not depend on quality.
  still() {
    const { arrays, planes, shape } = this.data, [channels, height, width] = shape;
    for (const k of [0, 1]) {
      if (channels === 1) this.picture(this.mains[k], arrays.original, 1, height, width);
      else {
        this.picture(this.mains[k], arrays.full0, 1, height, width);
        [1, 2].forEach((p, c) => {
          const [h, w] = k ? planes[p].small : [height, width];
          this.chroma(this.pairs[k][c], arrays[`${k ? "small" : "full"}${p}`], h, w);
        });
      }
    }
    this.coefficients(this.mains[2], (i) => arrays.coefficients0[i]);
    const [rows, columns] = planes[0].blocks, row = Math.floor(this.block / columns), column = this.block % columns;
    this.marks.forEach((mark, k) => {
      const [h, w] = k === 2 || k === 3 ? [8 * rows, 8 * columns] : [height, width];
      mark.style.cssText = `left:${(800 * column) / w}%;top:${(800 * row) / h}%;` +
        `width:${(100 * Math.min(8, w - 8 * column)) / w}%;height:${(100 * Math.min(8, h - 8 * row)) / h}%`;
    });
  }

  draw() {
    const { arrays, planes, shape, text, before, classes } = this.data, q = +this.slider.value;
    const [channels, height, width] = shape, size = channels * height * width, K = arrays.probabilities.length / 100;
    this.slider.style.setProperty("--track", `linear-gradient(90deg, var(--accent) ${(100 * (q - 1)) / 99}%, var(--line) ${(100 * (q - 1)) / 99}%)`);
    this.root.querySelector("output").textContent = q;
    const at = (k) => (q - 1) * arrays[`quantized${k}`].length / 100;
    const start = at(0), table = arrays.tables0.subarray(64 * (q - 1), 64 * q);
    this.coefficients(this.mains[3], (i) => arrays.quantized0[start + i] * table[i % 64]);
    this.picture(this.mains[4], arrays.results.subarray((q - 1) * size, q * size), channels, height, width);
    let kept = 0, all = 0;
    planes.forEach((_, k) => {
      const count = arrays[`quantized${k}`].length / 100;
      all += count;
      for (let i = 0; i < count; i++) kept += arrays[`quantized${k}`][at(k) + i] !== 0;
    });
    const now = arrays.probabilities.subarray((q - 1) * K, q * K), is = argmax(now);
    const named = (c) => `<b style="color:${this.hues[c % this.hues.length]}">${escape(classes[c] ?? c)}</b>`;
    const words = { quality: q, kept: this.whole.format(kept), all: this.whole.format(all),
      bytes: this.whole.format(arrays.bytes[q - 1]), raw: this.whole.format(size), name: named(is), sure: this.share(now[is]),
      before: named(before.class), beforeSure: this.share(before.sure) };
    setHTML(this.root.querySelector(".headline"), fill(escape(text.headline), words));
    setHTML(this.root.querySelector(".story"), `${fill(escape(text.readsBefore), words)} · ${fill(escape(text.reads), words)}`);
    setHTML(this.root.querySelector(".kept"), fill(escape(text.kept), words));
    setHTML(this.root.querySelector(".size"), fill(escape(text.result), words));
    const first = 64 * this.block;
    for (let i = 0; i < 64; i++) {
      const value = arrays.quantized0[start + first + i];
      this.cell(0, i, this.data.arrays.coefficients0[first + i], 0);
      this.cell(1, i, table[i], 0);
      this.cell(2, i, value, 1);
      this.cell(3, i, value * table[i], 1);
    }
  }

  cell(k, i, value, lit) {
    const cell = this.cells[k][i], shown = Math.round(value), words = String(shown === 0 ? 0 : shown);
    if (cell.textContent !== words) cell.textContent = words;
    cell.className = shown === 0 ? "zero" : lit ? "on" : "";
  }

  share(p) {
    return p > 0.995 ? "> " + this.percent.format(0.99) : this.percent.format(p);
  }

  picture(canvas, values, channels, height, width) {
    paint(canvas, height, width, (i, out, o) => {
      for (let c = 0; c < 3; c++) out[o + c] = values[i * channels + (channels === 3 ? c : 0)];
    });
  }

  chroma(canvas, values, height, width) {
    paint(canvas, height, width, (i, out, o) => {
      const place = 3 * values[i];
      for (let c = 0; c < 3; c++) out[o + c] = this.scale[place + c];
    });
  }

  // Signed, on a logarithmic scale: 1 is just seen, 1,000 is full colour.
  coefficients(canvas, value) {
    const [rows, columns] = this.data.planes[0].blocks;
    paint(canvas, 8 * rows, 8 * columns, (i, out, o) => {
      const y = Math.floor(i / (8 * columns)), x = i % (8 * columns);
      const v = value(64 * (Math.floor(y / 8) * columns + Math.floor(x / 8)) + 8 * (y % 8) + (x % 8));
      const place = 3 * Math.max(0, Math.min(255, Math.round(128 + Math.sign(v) * 127 * Math.min(1, Math.log1p(Math.abs(v)) / Math.log(1000)))));
      for (let c = 0; c < 3; c++) out[o + c] = this.scale[place + c];
    });
  }
}

function paint(canvas, height, width, colour) {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), out = image.data;
  out.fill(255);
  for (let i = 0; i < width * height; i++) colour(i, out, 4 * i);
  context.putImageData(image, 0, 0);
}
