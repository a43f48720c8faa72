"use strict";

// A distance in a slice: a line that is drawn with the ruler on, and its length in mm. A drag draws it, or a click at
// each end, or keys that move a point: once to the first end, and after Enter to the second.
const ruler = {
  line: null, // {slice, from, to, isOpen, byKey} in pixels; an open line has only its first end

  isOn: () => $("measure").getAttribute("aria-pressed") === "true",

  isHere() {
    return this.line !== null && this.line.slice === state.slice;
  },

  /** The pointer went down: at the second end of an open line, or at the first end of a new one. */
  start(x, y) {
    if (this.isHere() && this.line.isOpen) {
      this.move(x, y);
      this.line.isOpen = false;
    } else this.line = { slice: state.slice, from: [x, y], to: [x, y], isOpen: true };
    this.draw();
  },

  /** The pointer went up: a line that was dragged has both ends. */
  end(isClick) {
    if (this.line !== null && !isClick) this.line.isOpen = false;
  },

  /** Moves the point by keys. Until Enter fixes its first end, a line has no length. */
  nudge(right, down) {
    if (!this.isHere() || !this.line.byKey) {
      const middle = [WIDTH >> 1, HEIGHT >> 1];
      this.line = { slice: state.slice, from: middle, to: middle, byKey: true };
    }
    this.line.to = inside(this.line.to[0] + right, this.line.to[1] + down);
    if (!this.line.isFixed) this.line.from = this.line.to;
  },

  /** Enter: the first end stays here; and once more, so that the point starts a new line. */
  fix() {
    if (!this.isHere() || !this.line.byKey) return;
    this.line.isFixed = !this.line.isFixed;
    if (!this.line.isFixed) this.line.from = this.line.to;
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
    const isHere = this.isHere();
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
      draw();
    });
  },
};
