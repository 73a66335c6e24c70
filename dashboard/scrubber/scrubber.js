// The live panel: everything about one image at every epsilon arrives in one message; sliders redraw from it.
// Layout of the message: dashboard/component/__init__.py.

const panels = new WeakMap(); // mount point -> Panel; Streamlit calls the default export again for every message

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  let panel = panels.get(parentElement);
  if (!panel) panels.set(parentElement, (panel = new Panel(parentElement.querySelector(".lab"))));
  panel.send = (value) => setStateValue("release", value);
  panel.receive(unpack(data));
  return () => panel.dispose();
}

class Panel {
  constructor(root) {
    this.root = root;
    const find = (selector) => root.querySelector(selector);
    this.epsilon = find(".epsilon input");
    this.strength = find(".slider.defense input");
    this.canvases = Object.fromEntries(
      [...root.querySelectorAll(".tile")].map((tile) => [tile.classList[1], new Tile(tile)]));
    this.chart = new Chart(find(".chart svg"), (k) => this.moveTo(k), () => this.release());
    this.scheduled = 0;
    for (const input of [this.epsilon, this.strength]) {
      input.addEventListener("input", () => this.schedule());
      input.addEventListener("change", () => this.release());
    }
    find(".copy").addEventListener("click", (event) => this.copyLink(event.currentTarget));
    find(".png").addEventListener("click", () => this.downloadImage());
    find(".csv").addEventListener("click", () => this.downloadTable());
    this.watcher = new ResizeObserver(() => this.data && this.layout());
    this.watcher.observe(root);
    this.themes = new MutationObserver(() => this.data && this.layout());
    this.themes.observe(document.documentElement, { attributes: true, attributeFilter: ["style", "class"] });
  }

  dispose() {
    clearTimeout(this.pending);
  }

  receive(data) {
    const fresh = !this.data || this.data.subject !== data.subject || this.data.defense?.key !== data.defense?.key;
    this.data = data;
    this.root.classList.toggle("partial", data.partial);
    this.epsilon.disabled = this.root.querySelector(".csv").disabled = data.partial;
    this.percent = new Intl.NumberFormat(data.language, { style: "percent", maximumSignificantDigits: 3 });
    this.number = (digits) => new Intl.NumberFormat(
      data.language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    this.epsilon.max = data.epsilons.length - 1;
    if (fresh) { // a hand on the slider is not moved by the answer to its own last release
      this.epsilon.value = data.at;
      this.strength.value = data.defense ? data.defense.at : 0;
    }
    this.root.hidden = false;
    this.texts();
    this.layout();
  }

  // What changes only with the message or the width.
  texts() {
    const { text, defense } = this.data;
    const set = (selector, value) => { this.root.querySelector(selector).textContent = value; };
    set(".copy", text.copy); set(".png", text.png); set(".csv", text.csv);
    set(".epsilon .name", text.epsilon); set(".slider.defense .name", defense ? defense.label : text.noDefense);
    set(".bars h3", text.bars); set(".chart h3", text.chart);
    this.root.querySelector(".slider.defense").classList.toggle("off", !defense);
    this.strength.disabled = !defense;
    this.strength.max = defense ? defense.values.length - 1 : 1;
    if (+this.strength.value > +this.strength.max) this.strength.value = this.strength.max;
    this.root.querySelector(".tile.defended").classList.toggle("off", !defense);
    this.root.querySelector(".legend").innerHTML = ["clean", "adversarial", "defended"]
      .filter((which) => defense || which !== "defended")
      .map((which) => `<span><i class="${which}"></i>${escape(text[which])}</span>`).join("");
    const rows = this.root.querySelector(".rows");
    rows.innerHTML = this.data.classes.map((name) => `<div class="bar"><span class="who">${escape(name)}</span>` +
      `<span class="lanes"><span class="clean"></span><span class="adversarial"></span><span class="defended"></span>` +
      `</span><span class="much"></span></div>`).join("");
    const longest = Math.max(...this.data.classes.map((name) => name.length));
    rows.style.setProperty("--names", `${Math.min(12, longest) * 0.62 + 0.5}em`);
    this.bars = [...rows.children].map((row) => ({
      row, much: row.querySelector(".much"),
      lanes: Object.fromEntries([...row.querySelectorAll(".lanes span")].map((lane) => [lane.className, lane])),
    }));
  }

  layout() {
    const style = getComputedStyle(this.root);
    this.dark = luminance(style.getPropertyValue("--st-background-color").trim()) < 0.5;
    this.hues = this.dark ? this.data.hues.dark : this.data.hues.light;
    this.bars.forEach(({ row }, c) => row.style.setProperty("--hue", this.hues[c % this.hues.length]));
    this.drawTicks();
    this.chart.build(this.data, this.hues, this.number, this.percent);
    this.draw();
  }

  drawTicks() {
    const { epsilons, marks, flip, text } = this.data;
    const svg = this.root.querySelector(".epsilon .ticks");
    const width = svg.clientWidth, thumb = 24, top = epsilons[epsilons.length - 1];
    const at = (value) => thumb / 2 + (value / top) * (width - thumb);
    const room = (x, others, gap) => others.every((other) => Math.abs(other - x) > gap);
    const flipAt = flip === null ? null : at(flip), taken = flipAt === null ? [] : [flipAt];
    let content = "";
    for (const value of [0, top, ...marks]) {
      const x = at(value);
      content += `<line x1="${x}" x2="${x}" y1="-8" y2="-3"/>`;
      if (!room(x, taken, value === 0 ? 60 : 74)) continue;
      taken.push(x);
      content += `<text x="${x}" y="12" text-anchor="${value === 0 ? "start" : value === top ? "end" : "middle"}" ` +
        `dx="${value === 0 ? -10 : value === top ? 10 : 0}">${this.epsilonName(value, true)}</text>`;
    }
    if (flipAt !== null) {
      const anchor = flipAt < 60 ? "start" : flipAt > width - 60 ? "end" : "middle";
      content += `<g class="flip"><path d="M${flipAt} -9l5 8h-10z"/><text x="${flipAt}" y="12" dx="${
        anchor === "start" ? -6 : anchor === "end" ? 6 : 0}" text-anchor="${anchor}">${
        escape(fill(text.flip, { epsilon: this.epsilonName(flip, true) }))}</text></g>`;
    }
    svg.innerHTML = content;
    const ticks = this.root.querySelector(".slider.defense .ticks"), { defense } = this.data, span = ticks.clientWidth - thumb;
    ticks.innerHTML = !defense ? "" : defense.ticks.map((k) => {
      const x = thumb / 2 + (k / (defense.values.length - 1)) * span;
      return `<line x1="${x}" x2="${x}" y1="-8" y2="-3"/><text x="${x}" y="12" text-anchor="middle">${this.strengthName(k)}</text>`;
    }).join("");
  }

  // Where the defense's own slider stands, as people say it.
  strengthName(k) {
    const { values, digits } = this.data.defense;
    return this.number(digits).format(values[k]);
  }

  // 8/255 for photos, 0.15 for digits; the other one beside it where there is room.
  epsilonName(value, short) {
    const in255 = this.number(Number.isInteger(round2(value * 255)) ? 0 : 1).format(value * 255) + "/255";
    const plain = new Intl.NumberFormat(this.data.language, {
      minimumFractionDigits: short ? 0 : this.data.digits, maximumFractionDigits: this.data.digits }).format(value);
    if (this.data.norm !== "linf") return plain;
    if (short) return this.data.per255 ? in255 : plain;
    return this.data.per255 ? `${in255} <small>= ${plain}</small>` : `${plain} <small>= ${in255}</small>`;
  }

  schedule() {
    if (!this.scheduled) this.scheduled = requestAnimationFrame(() => { this.scheduled = 0; this.draw(); });
  }

  moveTo(k) {
    this.epsilon.value = k;
    this.schedule();
  }

  release() {
    clearTimeout(this.pending); // arrow keys fire many
    this.pending = setTimeout(() => this.send({
      epsilon: this.data.epsilons[+this.epsilon.value], scale: this.data.scale,
      strength: this.data.defense ? this.data.defense.values[+this.strength.value] : null,
      defense: this.data.defense ? this.data.defense.key : null,
      moment: Date.now() }), 120); // or a second release at the same place would not count as a change
  }

  // The row of defended images holds for its strength, the column for its epsilon; null while neither fits.
  defendedNow(k, q) {
    const { defense, arrays } = this.data;
    if (!defense) return null;
    if (q === defense.at) return { images: arrays.rowImages, probabilities: arrays.rowProbabilities, k };
    if (k === defense.columnAt) return { images: arrays.columnImages, probabilities: arrays.columnProbabilities, k: q };
    return null;
  }

  // What the defended network says of an attacker who knows the defense: known at its strength, at some epsilons.
  knownNow(k, q, K) {
    const { defense, arrays } = this.data;
    const row = defense && q === defense.at ? defense.knownAt.indexOf(k) : -1;
    return row < 0 ? null : arrays.knownProbabilities.subarray(row * K, row * K + K);
  }

  draw() {
    const { data } = this, { arrays, classes, text } = data;
    const place = +this.epsilon.value, k = data.partial ? 1 : place, q = +this.strength.value, K = classes.length;
    const clean = arrays.probabilities.subarray(0, K);
    const now = arrays.probabilities.subarray(k * K, k * K + K);
    const defended = this.defendedNow(k, q);
    const after = defended && defended.probabilities.subarray(defended.k * K, defended.k * K + K);
    this.drawSliders(place, q);
    this.drawTiles(k, defended);
    this.drawWords(k, clean, now, after, q, this.knownNow(k, q, K));
    this.bars.forEach(({ row, much, lanes }, c) => {
      row.classList.toggle("top", c === argmax(now));
      much.textContent = now[c] < 0.005 ? "" : this.share(now[c]);
      lanes.clean.style.transform = `scaleX(${clean[c]})`;
      lanes.adversarial.style.transform = `scaleX(${now[c]})`;
      lanes.defended.style.setProperty("--part", `${after ? 100 * after[c] : 0}%`);
    });
    this.chart.cursor(place);
  }

  drawSliders(k, q) {
    const outputs = this.root.querySelectorAll(".slider output");
    outputs[0].innerHTML = this.epsilonName(this.data.epsilons[k], false);
    outputs[1].textContent = this.data.defense ? this.strengthName(q) : "";
    this.strength.setAttribute("aria-valuetext", outputs[1].textContent);
    this.epsilon.setAttribute("aria-valuetext", outputs[0].textContent);
    for (const [input, part] of [[this.epsilon, k / (this.data.epsilons.length - 1)], [this.strength, q / this.strength.max]])
      input.style.setProperty("--track", `linear-gradient(90deg, var(--accent) ${100 * part}%, var(--line) ${100 * part}%)`);
  }

  drawTiles(k, defended) {
    const { shape, arrays, text, gain } = this.data, [channels, height, width] = shape;
    const size = channels * height * width, plane = height * width;
    const tiles = this.canvases, part = (array, at, count) => array.subarray(at * count, (at + 1) * count);
    tiles.original.image(part(arrays.adversarial, 0, size), shape);
    tiles.noise.signed(part(arrays.delta, k, size), shape, this.dark ? arrays.divergingDark : arrays.divergingLight);
    tiles.adversarial.image(part(arrays.adversarial, k, size), shape);
    tiles.spectrum.magnitude(part(arrays.spectrum, k, plane), shape, arrays.viridis);
    tiles.saliency.magnitude(part(arrays.saliency, k, plane), shape, arrays.cividis);
    if (defended) tiles.defended.image(part(defended.images, defended.k, size), shape);
    tiles.defended.root.classList.toggle("waiting", !defended && !!this.data.defense);
    tiles.noise.caption(fill(escape(text.noise), { gain: `<b>×${this.number(gain < 10 ? 1 : 0).format(gain)}</b>` }));
    tiles.original.caption(escape(text.original));
    tiles.adversarial.caption(escape(text.adversarial));
    tiles.defended.caption(this.data.defense ? fill(escape(text.defendedBy), { defense: this.defenseName(+this.strength.value) }) : escape(text.noDefense));
    tiles.spectrum.caption(escape(text.spectrum));
    tiles.saliency.caption(fill(escape(text.saliency), { name: this.named(argmax(part(arrays.probabilities, k, this.data.classes.length))) }));
  }

  named(c) {
    return `<b>${escape(this.data.classes[c])}</b>`;
  }

  defenseName(q) {
    return escape(`${this.data.defense.name} ${this.strengthName(q)}`);
  }

  drawWords(k, clean, now, after, q, known) {
    const { text, arrays, label, target } = this.data;
    const was = argmax(clean), is = argmax(now), whole = (p) => this.share(p);
    const kind = is === was ? (label !== null && was !== label ? "wrongAnyway" : "holds") : label !== null && is === label ? "mended" : "misread";
    const words = { was: this.coloured(was), is: this.coloured(is), truth: label === null ? "" : this.coloured(label) };
    setHTML(this.root.querySelector(".headline"),
      `${fill(escape(text[kind]), words)} <span class="sure">(${whole(now[is])})</span>`);
    let story = fill(escape(text.before), { name: this.named(was), sure: whole(clean[was]) });
    const told = (words, shares) => fill(escape(words), {
      defense: this.defenseName(q), name: this.named(argmax(shares)), sure: whole(shares[argmax(shares)]) });
    if (this.data.defense) {
      story += " · " + (after ? told(text.after, after) : "…");
      story += " · " + (known ? told(text.known, known) : fill(escape(text.knownLater), { defense: escape(this.data.defense.name) }));
    }
    if (target !== null) story += " · " + fill(escape(text.target), { name: this.named(target), sure: whole(now[target]) });
    setHTML(this.root.querySelector(".story"), story);
    const linf = arrays.linf[k], fools = arrays.rounded[k] !== was;
    setHTML(this.root.querySelector(".measures"), [
      `L-inf <b>${this.number(3).format(linf)}</b> (${this.number(1).format(linf * 255)}/255) · ` +
        `L2 <b>${this.number(2).format(arrays.l2[k])}</b>`,
      `L0 <b>${fill(escape(text.l0), { changed: arrays.l0[k], all: this.data.shape[1] * this.data.shape[2] })}</b>`,
      is === was ? escape(text.notFooled) : `${escape(text.rounding)} <b>${escape(fools ? text.yes : text.no)}</b>`,
      escape(text.access),
    ].map((line) => `<li>${line}</li>`).join(""));
  }

  // Never "100 %" for what is not certain.
  share(p) {
    if (p > 0.9995) return "> " + this.percent.format(0.999);
    return this.percent.format(p > 0.99 ? Math.round(p * 1000) / 1000 : Math.round(p * 100) / 100);
  }

  coloured(c) {
    return `<b style="color:${this.hues[c % this.hues.length]}">${escape(this.data.classes[c])}</b>`;
  }

  async copyLink(button) {
    const address = new URL(location.href);
    address.searchParams.set("eps", this.data.epsilons[+this.epsilon.value]);
    if (this.data.defense) address.searchParams.set(this.data.defense.slider, this.data.defense.values[+this.strength.value]);
    try {
      await navigator.clipboard.writeText(address.href);
    } catch { // no clipboard on plain http: offer the text itself
      window.prompt(this.data.text.copy, address.href);
    }
    button.textContent = this.data.text.copied;
    setTimeout(() => { button.textContent = this.data.text.copy; }, 1600);
  }

  downloadImage() {
    this.canvases.adversarial.canvas.toBlob((blob) => save(blob, `${this.data.file}-eps-${this.data.epsilons[+this.epsilon.value].toFixed(4)}.png`));
  }

  downloadTable() {
    const { arrays, classes, epsilons } = this.data, K = classes.length;
    const lines = [["epsilon", "linf", "l2", "l0", ...classes.map((name) => `p(${name})`), "predicted after 8-bit rounding"]];
    epsilons.forEach((eps, k) => lines.push([eps, arrays.linf[k], arrays.l2[k], arrays.l0[k],
      ...arrays.probabilities.subarray(k * K, k * K + K), classes[arrays.rounded[k]]]));
    const quote = (cell) => (/[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell);
    const csv = lines.map((line) => line.map(quote).join(",")).join("\n") + "\n";
    save(new Blob([csv], { type: "text/csv" }), `${this.data.file}.csv`);
  }
}

class Tile {
  constructor(root) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.label = root.querySelector("figcaption");
    this.context = this.canvas.getContext("2d");
  }

  paint([, height, width], colour) {
    if (!this.pixels || this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.pixels = this.context.createImageData(width, height);
      this.pixels.data.fill(255);
    }
    const out = this.pixels.data;
    for (let i = 0; i < width * height; i++) colour(i, out, 4 * i);
    this.context.putImageData(this.pixels, 0, 0);
  }

  image(values, shape) {
    const step = shape[0];
    this.paint(shape, (i, out, o) => {
      for (let c = 0; c < 3; c++) out[o + c] = values[i * step + (step === 3 ? c : 0)];
    });
  }

  // Signed: a diverging scale for grey images, mid-grey plus each channel's change for photos.
  signed(values, shape, scale) {
    if (shape[0] === 1) this.paint(shape, (i, out, o) => {
      const at = 3 * (values[i] + 128);
      for (let c = 0; c < 3; c++) out[o + c] = scale[at + c];
    });
    else this.paint(shape, (i, out, o) => {
      for (let c = 0; c < 3; c++) out[o + c] = 128 + values[3 * i + c];
    });
  }

  magnitude(values, shape, scale) {
    this.paint(shape, (i, out, o) => {
      for (let c = 0; c < 3; c++) out[o + c] = scale[3 * values[i] + c];
    });
  }

  caption(html) {
    if (setHTML(this.label, html)) this.canvas.setAttribute("aria-label", this.label.textContent);
  }
}

class Chart {
  constructor(svg, move, release) {
    this.svg = svg;
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      const part = (event.clientX - box.left - this.left) / (this.right - this.left);
      move(Math.round(Math.min(1, Math.max(0, part)) * (this.count - 1)));
    };
    svg.addEventListener("pointerdown", (event) => { if (this.partial) return; svg.setPointerCapture(event.pointerId); this.held = true; follow(event); });
    svg.addEventListener("pointermove", (event) => this.held && follow(event));
    svg.addEventListener("pointerup", () => { this.held = false; release(); });
    svg.addEventListener("pointercancel", () => { this.held = false; });
  }

  build(data, hues, number, percent) {
    const { epsilons, classes, arrays, flip, text } = data, K = classes.length;
    const width = this.svg.clientWidth || 600, height = this.svg.clientHeight || 160;
    this.left = 44; this.right = width - 10; this.top = 8; this.bottom = height - 36;
    this.count = epsilons.length;
    this.partial = data.partial;
    const x = (k) => this.left + (k / (this.count - 1)) * (this.right - this.left);
    const y = (p) => this.bottom - p * (this.bottom - this.top);
    const at = (k, c) => arrays.probabilities[k * K + c];
    let out = "";
    for (const p of [0, 0.5, 1])
      out += `<line class="grid" x1="${this.left}" x2="${this.right}" y1="${y(p)}" y2="${y(p)}"/>` +
        `<text x="${this.left - 8}" y="${y(p) + 4}" text-anchor="end">${percent.format(p)}</text>`;
    const top = epsilons[this.count - 1], parts = Number.isInteger(top * 10) && Math.round(top * 10) % 5 === 0 ? 5 : 4;
    const value = data.per255 ? (e) => number(0).format(e * 255) : (e) => number(1).format(e);
    for (let j = 0; j <= parts; j++)
      out += `<text x="${this.left + (j / parts) * (this.right - this.left)}" y="${this.bottom + 17}" text-anchor="${j === parts ? "end" : "middle"}">${value((j / parts) * top)}</text>`;
    out += `<text x="${(this.left + this.right) / 2}" y="${this.bottom + 33}" text-anchor="middle">${escape(data.per255 ? text.axis255 : data.norm === "l2" ? text.axisL2 : text.axis)}</text>`;
    if (data.partial) out += `<text x="${(this.left + this.right) / 2}" y="${(this.top + this.bottom) / 2}" text-anchor="middle">${escape(text.computing)}</text>`;
    const peaks = data.partial ? [] : [...Array(K).keys()].map((c) => {
      let best = 0;
      for (let k = 0; k < this.count; k++) if (at(k, c) > at(best, c)) best = k;
      return { c, best, p: at(best, c) };
    }).sort((a, b) => b.p - a.p);
    const named = new Set(peaks.slice(0, 4).filter(({ p }) => p > 0.2).map(({ c }) => c));
    for (const { c } of [...peaks].reverse()) {
      let d = "";
      for (let k = 0; k < this.count; k++) d += `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(at(k, c)).toFixed(1)}`;
      const strong = named.has(c);
      out += `<path d="${d}" stroke="${hues[c % hues.length]}" stroke-width="${strong ? 2.5 : 1}" opacity="${strong ? 1 : 0.45}"/>`;
    }
    const placed = [];
    for (const { c, best, p } of peaks) if (named.has(c)) {
      const tx = Math.min(this.right - 20, Math.max(this.left + 14, x(best)));
      let ty = Math.max(this.top + 14, Math.min(this.bottom - 4, y(p) + (p > 0.85 ? 18 : -6)));
      while (placed.some(([px, py]) => Math.abs(px - tx) < 60 && Math.abs(py - ty) < 15) && ty < this.bottom - 16) ty += 16;
      placed.push([tx, ty]);
      out += `<text class="class" x="${tx}" y="${ty}" style="fill:${hues[c % hues.length]}" text-anchor="middle">${escape(classes[c])}</text>`;
    }
    if (flip !== null) {
      const fx = this.left + (flip / top) * (this.right - this.left);
      out += `<line class="flip" x1="${fx}" x2="${fx}" y1="${this.top}" y2="${this.bottom}"/>` +
        `<text x="${fx + 4}" y="${this.top + 4}" ${fx > this.right - 40 ? `text-anchor="end" dx="-8"` : ""}>ε*</text>`;
    }
    out += `<line class="cursor" y1="${this.top - 4}" y2="${this.bottom}"/>`;
    this.svg.innerHTML = out;
    this.svg.setAttribute("aria-label", text.chart);
    this.line = this.svg.querySelector(".cursor");
    this.x = x;
  }

  cursor(k) {
    const at = this.x(k);
    this.line.setAttribute("x1", at);
    this.line.setAttribute("x2", at);
  }
}

const round2 = (value) => Math.round(value * 100) / 100;

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
