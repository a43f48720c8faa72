"use strict";

// Coronal and sagittal planes through a point of the scan. They are made when they are first opened.
const planes = {
  point: null, // [x, y] in pixels of a slice
  slices: null, // promises the pixels of all slices
  shown: null, // what was drawn last, so that a slower drawing before it is dropped

  isOpen: () => $("planes").open,

  async draw() {
    if (!this.isOpen()) return;
    this.point ??= [WIDTH >> 1, HEIGHT >> 1];
    this.slices ??= Promise.all(Array.from({ length: SLICES }, (_, s) => scan.get(s)));
    const asked = (this.shown = {});
    const slices = await this.slices;
    if (asked !== this.shown) return;
    const [x, y] = this.point;
    const [, rowMm, columnMm] = data.spacing_mm;
    this.plane($("coronal"), WIDTH, columnMm, x, (s, i) => slices[s][y * WIDTH + i]);
    this.plane($("sagittal"), HEIGHT, rowMm, y, (s, i) => slices[s][i * WIDTH + x]);
  },

  /** Slices lie where their z says, with linear interpolation between them; the vertex is at the top. */
  plane(canvas, across, acrossMm, point, value) {
    const z = data.z_mm, top = z[SLICES - 1];
    const rows = Math.max(1, Math.round((top - z[0]) / acrossMm) + 1);
    const pixels = new Int16Array(rows * across);
    for (let r = 0, s = SLICES - 1; r < rows; r++) {
      const at = top - r * acrossMm;
      while (s > 0 && z[s - 1] > at) s--;
      const below = Math.max(s - 1, 0);
      const share = s === below ? 0 : Math.min(Math.max((z[s] - at) / (z[s] - z[below]), 0), 1);
      for (let i = 0; i < across; i++) pixels[r * across + i] = (1 - share) * value(s, i) + share * value(below, i);
    }
    canvas.width = across;
    canvas.height = rows;
    const brush = canvas.getContext("2d", { alpha: false });
    brush.putImageData(grey(pixels, across, rows), 0, 0);
    brush.fillStyle = "#6fb6d8aa";
    brush.fillRect(0, Math.round((top - z[state.slice]) / acrossMm), across, 1);
    brush.fillRect(point, 0, 1, rows);
  },

  /** The point, moved by keys. */
  nudge(right, down) {
    this.point = inside(this.point[0] + right, this.point[1] + down);
  },

  pick(x, y) {
    this.point = [x, y];
    return draw();
  },

  /** A place in a plane names a slice and a new point. */
  listen() {
    $("planes").addEventListener("toggle", () => draw());
    for (const [id, axis] of [["coronal", 0], ["sagittal", 1]]) {
      const canvas = $(id);
      const follow = (e) => {
        const box = canvas.getBoundingClientRect();
        const across = Math.floor(((e.clientX - box.left) / box.width) * canvas.width);
        const z = data.z_mm[SLICES - 1] - ((e.clientY - box.top) / box.height) * canvas.height * data.spacing_mm[axis ? 1 : 2];
        this.point[axis] = Math.min(Math.max(across, 0), canvas.width - 1);
        const far = data.z_mm.map((each) => Math.abs(each - z));
        change({ slice: far.indexOf(Math.min(...far)) });
      };
      canvas.addEventListener("pointerdown", (e) => {
        canvas.setPointerCapture(e.pointerId);
        follow(e);
      });
      canvas.addEventListener("pointermove", (e) => canvas.hasPointerCapture(e.pointerId) && follow(e));
    }
  },
};
