"use strict";

// A distance in a slice: a line that is drawn with the ruler on, and its length in mm.
const ruler = {
  line: null, // {slice, from, to} in pixels

  isOn: () => $("measure").getAttribute("aria-pressed") === "true",

  start(x, y) {
    this.line = { slice: state.slice, from: [x, y], to: [x, y] };
    this.draw();
  },

  move(x, y) {
    this.line.to = [x, y];
    this.draw();
  },

  clear() {
    this.line = null;
    this.draw();
  },

  get lengthMm() {
    const { from, to } = this.line;
    return Math.hypot((to[0] - from[0]) * data.spacing_mm[2], (to[1] - from[1]) * data.spacing_mm[1]);
  },

  draw() {
    const isHere = this.line !== null && this.line.slice === state.slice;
    $("ruler").setAttribute("viewBox", `0 0 ${canvas.width} ${HEIGHT}`);
    $("ruler").toggleAttribute("hidden", !isHere);
    $("at-length").textContent = isHere ? `${this.lengthMm.toFixed(1)} mm` : "";
    if (!isHere) return;
    const [line] = $("ruler").children, { from, to } = this.line;
    // Pixels are named by their middle.
    for (const [name, value] of [["x1", from[0]], ["y1", from[1]], ["x2", to[0]], ["y2", to[1]]]) line.setAttribute(name, value + 0.5);
  },

  listen() {
    $("measure").addEventListener("click", () => {
      $("measure").setAttribute("aria-pressed", String(!this.isOn()));
      if (!this.isOn()) this.clear();
    });
  },
};
