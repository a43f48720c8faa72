// What the page shows: one scan, its scores and its heat maps. All of it lies in this file; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const [SLICES, HEIGHT, WIDTH] = data.shape;
const $ = (id) => document.getElementById(id);

const state = {
  slice: data.opening,
  label: data.main,
  center: data.windows[0].center_hu,
  width: data.windows[0].width_hu,
  heat: false,
  map: "0", // of the maps of a label, or "both"
  opacity: 0.6,
};

// --- slices: unpacked when they are first looked at -----------------------------------------------------------------

/** The inverse of `pack` in packing.py: whole numbers from 0, row by row. */
async function unpack(text, height, width) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = height * width;
  const stride = width + 1;
  const padded = new Int16Array((height + 1) * stride);
  const pixels = new Int16Array(size);
  for (let y = 0, i = 0, p = stride + 1; y < height; y++, p++) {
    for (let x = 0; x < width; x++, i++, p++) {
      const left = padded[p - 1], upper = padded[p - stride];
      const guess = left + upper - padded[p - stride - 1];
      const smaller = Math.min(left, upper), larger = Math.max(left, upper);
      const folded = planes[i] | (planes[i + size] << 8);
      const residual = folded & 1 ? -(folded + 1) / 2 : folded / 2;
      pixels[i] = padded[p] = residual + Math.min(Math.max(guess, smaller), larger);
    }
  }
  return pixels;
}

/** A stack in the page: `get(s)` promises its slice `s`. */
function stack(id, height, width) {
  const lines = $(id).textContent.split("\n");
  const slices = new Map();
  return {
    height,
    width,
    get(s) {
      if (!slices.has(s)) slices.set(s, unpack(lines[s], height, width));
      return slices.get(s);
    },
  };
}

const scan = stack("hu", HEIGHT, WIDTH);
/** Whether slices have scores for a label: a model that never saw labels of slices gives none. */
const scoresSlices = (label) => data.slice_labels.includes(label);
const maps = data.heat.map((map, i) => ({ ...map, ...stack(`heat-${i}`, ...map.shape) }));
const mapsOf = (label) => maps.filter((map) => map.label === label);
/** The maps of the label at hand that are asked for; a label with one map shows that. */
function chosenMaps() {
  const all = mapsOf(state.label);
  return all.length < 2 || state.map === "both" ? all : [all[Number(state.map)]];
}
/** The label's slice that a map says most of. */
const strongest = (label) => mapsOf(label)[0]?.strongest;

// --- drawing --------------------------------------------------------------------------------------------------------

const canvas = $("scan");
const context = canvas.getContext("2d", { alpha: false });
const overlay = document.createElement("canvas");
const COLOURS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

/** Pixels of a picture in the window at hand. */
function grey(pixels, width, height) {
  const table = new Uint8Array(data.levels);
  const bottom = state.center - state.width / 2 - data.low;
  for (let v = 0; v < table.length; v++) {
    table[v] = Math.round(255 * Math.min(Math.max((v - bottom) / state.width, 0), 1));
  }
  const image = context.createImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  for (let i = 0; i < words.length; i++) words[i] = 0xff000000 | (table[pixels[i]] * 0x010101);
  return image;
}

function coloured(values, { height, width }) {
  overlay.width = width;
  overlay.height = height;
  const brush = overlay.getContext("2d");
  const image = brush.createImageData(width, height);
  values.forEach((value, i) => {
    const at = (value / 255) * (COLOURS.length - 1);
    const k = Math.min(Math.floor(at), COLOURS.length - 2);
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = COLOURS[k][c] + (at - k) * (COLOURS[k + 1][c] - COLOURS[k][c]);
    }
    // The weaker the place, the more of the scan shows through.
    image.data[4 * i + 3] = Math.min(255, 1.6 * value);
  });
  brush.putImageData(image, 0, 0);
}

let drawn = null; // the slice's pixels, for the HU beneath the pointer

async function draw() {
  const { slice, label, map, heat } = state;
  const shown = heat ? chosenMaps() : [];
  const [pixels, ...values] = await Promise.all([scan.get(slice), ...shown.map((each) => each.get(slice))]);
  // Scrolled on, or asked for something else, while it was unpacked.
  if (slice !== state.slice || label !== state.label || map !== state.map || heat !== state.heat) return;
  drawn = pixels;
  fitPanels(Math.max(shown.length, 1));
  const plain = grey(pixels, WIDTH, HEIGHT);
  for (let i = 0; i < Math.max(shown.length, 1); i++) {
    context.putImageData(plain, i * WIDTH, 0);
    const point = ruler.isHere() && ruler.line.byKey ? ruler.line.to : planes.isOpen() && planes.point;
    if (point) drawCross(i * WIDTH, ...point);
    if (!values[i]) continue;
    coloured(values[i], shown[i]);
    context.globalAlpha = state.opacity;
    context.imageSmoothingQuality = "high";
    context.drawImage(overlay, i * WIDTH, 0, WIDTH, HEIGHT);
    context.globalAlpha = 1;
  }
  ruler.draw();
  await planes.draw();
}

/** A place of a slice that is not outside it. */
const inside = (x, y) => [Math.min(Math.max(x, 0), WIDTH - 1), Math.min(Math.max(y, 0), HEIGHT - 1)];

/** The point of the other planes or of the ruler, with a gap in its middle. */
function drawCross(left, x, y) {
  context.fillStyle = "#6fb6d8aa";
  const gap = Math.max(3, Math.round(WIDTH / 64));
  for (const [from, to] of [[0, x - gap], [x + gap, WIDTH]]) context.fillRect(left + from, y, Math.max(to - from, 0), 1);
  for (const [from, to] of [[0, y - gap], [y + gap, HEIGHT]]) context.fillRect(left + x, from, 1, Math.max(to - from, 0));
}

/** The canvas holds the slice once, or once for each of two maps side by side. */
function fitPanels(count) {
  if (canvas.width === count * WIDTH && canvas.height === HEIGHT) return;
  const [, rowMm, columnMm] = data.spacing_mm;
  canvas.width = count * WIDTH;
  canvas.height = HEIGHT;
  document.documentElement.style.setProperty("--aspect", (count * WIDTH * columnMm) / (HEIGHT * rowMm));
  $("scale-bar").style.width = `${(100 * 50) / (count * WIDTH * columnMm)}%`;
}

// --- words and controls ---------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const shape = (name, attributes) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function drawStrip() {
  const column = data.labels.indexOf(state.label);
  const strip = $("strip");
  strip.setAttribute("viewBox", `0 0 ${SLICES} 1`);
  $("strip").toggleAttribute("hidden", !scoresSlices(state.label));
  if (!scoresSlices(state.label)) return;
  strip.replaceChildren(
    ...data.slice_scores.map((scores, s) => {
      const height = Math.max(scores[column], 0.01);
      const high = state.label in data.slice_thresholds && scores[column] >= data.slice_thresholds[state.label];
      return shape("rect", { x: s + 0.12, width: 0.76, y: 1 - height, height, class: high ? "high" : "" });
    }),
    ...data.slice_scores.map((scores, s) => {
      const hit = shape("rect", { x: s, width: 1, y: 0, height: 1, class: "column", "data-slice": s });
      hit.append(shape("title", {}));
      hit.firstChild.textContent = `Slice ${s + 1}: ${scores[column].toFixed(3)}`;
      return hit;
    }),
  );
  if (state.label in data.slice_thresholds) {
    const y = 1 - data.slice_thresholds[state.label];
    strip.append(shape("line", { x1: 0, x2: SLICES, y1: y, y2: y }));
  }
}

function write() {
  const { slice, label } = state;
  const named = data.windows.find((w) => w.center_hu === state.center && w.width_hu === state.width);
  const score = scoresSlices(label) ? data.slice_scores[slice][data.labels.indexOf(label)].toFixed(3) : "";
  const said = score && `${data.names[label]} ${score}`;
  const at = `Slice ${slice + 1} of ${SLICES}`;
  $("at-slice").textContent = `${slice + 1} / ${SLICES}`;
  $("at-z").textContent = `z ${data.z_mm[slice].toFixed(1)} mm`;
  $("at-window").textContent = `${named ? named.name + "  " : ""}C ${state.center}  W ${state.width}`;
  $("at-score").textContent = said;
  if (score) $("strip-title").textContent = `${data.names[label]}: score of each slice, 0 to 1`;
  else if (data.scored) $("strip-title").textContent = "no scores of single slices";
  $("slice").value = slice + 1;
  $("slice").setAttribute("aria-valuetext", [at, said].filter(Boolean).join(", "));
  canvas.setAttribute("aria-label", `Axial ${at.toLowerCase()}, z ${data.z_mm[slice].toFixed(1)} mm`);
  $("center").value = state.center;
  $("width").value = state.width;
  $("heat").checked = state.heat;
  $("opacity").value = Math.round(100 * state.opacity);
  const shown = chosenMaps(), hasLesions = shown.some((map) => map.lesions), hasHeat = shown.some((map) => !map.lesions);
  $("legend").hidden = !(state.heat && shown.length);
  $("map-choice").hidden = mapsOf(label).length < 2;
  $("legend-lesions").hidden = !hasLesions;
  $("legend-class").hidden = !hasHeat;
  $("legend-end").textContent = [hasLesions && "probability 1", hasHeat && "strongest place of this scan"].filter(Boolean).join(" | ");
  $("below-note").hidden = !data.below.includes(label);
  $("no-map").hidden = !state.heat || shown.length > 0;
  if ($("suspicious")) {
    $("suspicious").hidden = !score && strongest(label) === undefined;
    $("suspicious").textContent = score ? "Slice with the highest score" : "Slice where the map is strongest";
  }
  for (const radio of document.getElementsByName("window")) radio.checked = Boolean(named) && radio.value === named.name;
  for (const radio of document.getElementsByName("label")) radio.checked = radio.value === label;
  for (const radio of document.getElementsByName("map")) radio.checked = radio.value === state.map;
  for (const hit of $("strip").querySelectorAll(".column")) {
    hit.classList.toggle("now", Number(hit.dataset.slice) === slice);
  }
}

function change(values) {
  const relabelled = "label" in values && values.label !== state.label;
  Object.assign(state, values);
  state.slice = Math.min(Math.max(Math.round(state.slice), 0), SLICES - 1);
  state.width = Math.min(Math.max(Math.round(state.width), 1), data.levels);
  state.center = Math.min(Math.max(Math.round(state.center), data.low), data.low + data.levels - 1);
  if (relabelled) drawStrip();
  write();
  return draw();
}

const mostSuspicious = () => {
  if (!scoresSlices(state.label)) return strongest(state.label) ?? state.slice;
  const scores = data.slice_scores.map((row) => row[data.labels.indexOf(state.label)]);
  return scores.indexOf(Math.max(...scores));
};
const byName = (name) => {
  const { center_hu: center, width_hu: width } = data.windows.find((w) => w.name === name);
  return { center, width };
};

/** `#slice=12&window=bone&label=subdural&heat=1&map=both&opacity=0.5`, so that a link can point at a place. */
function fromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const values = {};
  if (Number(asked.get("slice"))) values.slice = Number(asked.get("slice")) - 1;
  if (data.windows.some((w) => w.name === asked.get("window"))) Object.assign(values, byName(asked.get("window")));
  if (data.labels.includes(asked.get("label"))) values.label = asked.get("label");
  if (asked.has("heat")) values.heat = asked.get("heat") === "1";
  if (["0", "1", "both"].includes(asked.get("map"))) values.map = asked.get("map");
  if (Number(asked.get("opacity"))) values.opacity = Math.min(Math.abs(Number(asked.get("opacity"))), 1);
  return values;
}

function listen() {
  $("slice").addEventListener("input", (e) => change({ slice: Number(e.target.value) - 1 }));
  $("strip").addEventListener("click", (e) => e.target.dataset.slice && change({ slice: Number(e.target.dataset.slice) }));
  $("suspicious")?.addEventListener("click", () => change({ slice: mostSuspicious() }));
  $("heat").addEventListener("change", (e) => change({ heat: e.target.checked }));
  $("opacity").addEventListener("input", (e) => change({ opacity: Number(e.target.value) / 100 }));
  $("center").addEventListener("change", (e) => change({ center: Number(e.target.value) }));
  $("width").addEventListener("change", (e) => change({ width: Number(e.target.value) }));
  for (const radio of document.getElementsByName("window")) {
    radio.addEventListener("change", () => change(byName(radio.value)));
  }
  for (const radio of document.getElementsByName("map")) {
    radio.addEventListener("change", () => change({ map: radio.value }));
  }
  for (const radio of document.getElementsByName("label")) {
    radio.addEventListener("change", () => change({ label: radio.value }));
  }
  // A mouse that chose a window goes on to scroll: the arrow keys belong to the slices then, not to the choice.
  document.addEventListener("click", (e) => {
    if (e.detail && e.target.closest("label")?.querySelector("[type=radio], [type=checkbox]")) {
      setTimeout(() => document.activeElement.blur());
    }
  });
  window.addEventListener("hashchange", () => change(fromAddress()));

  // A notch of a wheel is about 100 pixels; a touch pad sends many small steps.
  let wheeled = 0;
  $("stage").addEventListener("wheel", (e) => {
    if (e.ctrlKey) return; // zooming the page
    e.preventDefault();
    wheeled -= e.deltaMode === 0 ? e.deltaY / 60 : e.deltaY;
    const steps = Math.trunc(wheeled);
    wheeled -= steps;
    if (steps) change({ slice: state.slice + Math.max(-3, Math.min(3, steps)) });
  }, { passive: false });

  ruler.listen();
  planes.listen();

  let grip = null;
  const pixelAt = (e) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((e.clientX - box.left) / box.width) * canvas.width) % WIDTH;
    return [x, Math.floor(((e.clientY - box.top) / box.height) * HEIGHT)];
  };
  canvas.addEventListener("pointerdown", (e) => {
    grip = { x: e.clientX, y: e.clientY, ...state };
    canvas.setPointerCapture(e.pointerId);
    if (ruler.isOn()) ruler.start(...pixelAt(e));
  });
  canvas.addEventListener("pointermove", (e) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = pixelAt(e);
    const inside = drawn && x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT;
    $("at-hu").textContent = inside ? `${drawn[y * WIDTH + x] + data.low} HU` : "";
    if (!grip) return;
    if (ruler.isOn()) {
      ruler.move(x, y);
      return;
    }
    const [right, down] = [e.clientX - grip.x, e.clientY - grip.y];
    if (e.pointerType === "touch") change({ slice: grip.slice + (right / box.width) * Math.max(SLICES, 20) });
    else if (Math.hypot(right, down) > 3) {
      const speed = Math.max(grip.width, 40) / 300;
      change({ width: grip.width + right * speed, center: grip.center + down * speed });
    }
  });
  canvas.addEventListener("pointerup", (e) => {
    const isClick = grip && Math.hypot(e.clientX - grip.x, e.clientY - grip.y) <= 3;
    if (grip && ruler.isOn()) ruler.end(isClick);
    if (isClick && planes.isOpen() && !ruler.isOn()) planes.pick(...pixelAt(e));
    grip = null;
  });
  canvas.addEventListener("pointercancel", () => (grip = null));
  canvas.addEventListener("pointerleave", () => ($("at-hu").textContent = ""));

  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input:not(#slice)")) return;
    const steps = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (e.shiftKey && e.key in steps) {
      if (ruler.isOn()) ruler.nudge(...steps[e.key]);
      else if (planes.isOpen()) planes.nudge(...steps[e.key]);
      draw();
      e.preventDefault();
      return;
    }
    if (e.key === "Enter" && ruler.isOn() && !e.target.matches("button, summary")) {
      ruler.fix();
      draw();
      return;
    }
    const moves = {
      ArrowUp: state.slice + 1, ArrowRight: state.slice + 1, ArrowDown: state.slice - 1, ArrowLeft: state.slice - 1,
      PageUp: state.slice + 5, PageDown: state.slice - 5, Home: 0, End: SLICES - 1, m: mostSuspicious(),
    };
    if (e.key in moves) change({ slice: moves[e.key] });
    else if (e.key === "h") change({ heat: !state.heat });
    else if (e.key === "d") $("measure").click();
    else if (e.key === "p") $("planes").open = !$("planes").open;
    else if (data.windows[Number(e.key) - 1]) change(byName(data.windows[Number(e.key) - 1].name));
    else return;
    e.preventDefault();
  });
}

// --- start ----------------------------------------------------------------------------------------------------------

function fail(error) {
  document.body.dataset.error = String(error);
  const words = document.createElement("p");
  words.className = "failure";
  words.textContent = "This browser cannot show the pictures. The scores are complete.";
  $("stage").append(words);
}

async function start() {
  fitPanels(1);
  document.documentElement.style.setProperty("--slices", SLICES);
  drawStrip();
  listen();
  await change(fromAddress());
  const middle = context.getImageData(WIDTH >> 1, HEIGHT >> 1, 1, 1).data;
  Object.assign(document.body.dataset, { ready: "1", slice: state.slice + 1, center: middle[0], panels: canvas.width / WIDTH });
}

window.addEventListener("error", (e) => fail(e.message));
start().catch(fail);
