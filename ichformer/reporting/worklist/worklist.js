"use strict";
// The filter and the keys of the list. Without them the list is whole, so nothing here adds a row.

const $ = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll("#list tbody tr")];
const texts = rows.map((row) => row.textContent.toLowerCase());
let current = 0; // the row that the keys start from

const visible = () => rows.filter((row) => !row.hidden);

function show() {
  const state = document.querySelector("[name=state]:checked").value;
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  rows.forEach((row, i) => {
    row.hidden = !(!state || row.classList.contains(state)) || !words.every((word) => texts[i].includes(word));
  });
  const left = visible();
  $("shown").textContent = `${left.length} of ${rows.length} shown`;
  $("nothing").hidden = left.length > 0;
  if (left.length && rows[current].hidden) mark(left[0]);
}

/** The one row that Tab leads to. */
function mark(row) {
  if (rows[current]) rows[current].tabIndex = -1;
  current = rows.indexOf(row);
  row.tabIndex = 0;
}

function go(row) {
  if (!row) return;
  mark(row);
  row.focus();
  row.scrollIntoView({ block: "nearest" });
}

function moved(key) {
  const left = visible();
  const at = left.indexOf(rows[current]);
  const inside = rows[current] === document.activeElement; // the first key chooses the row, later ones move on
  if (key === "Home") return left[0];
  if (key === "End") return left[left.length - 1];
  if (!inside) return left[Math.max(at, 0)];
  return key === "j" || key === "ArrowDown" ? left[at + 1] : left[at - 1];
}

const KEYS = ["j", "k", "ArrowDown", "ArrowUp", "Home", "End"];

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.target === $("filter")) {
    if (e.key === "Escape") $("filter").value = "";
    else if (e.key !== "Enter" && e.key !== "ArrowDown") return;
    show();
    go(visible()[0]);
  } else if (e.key === "Escape") {
    $("filter").value = "";
    show();
  } else if (e.key === "/") {
    $("filter").focus();
    $("filter").select();
  } else if (e.key === "Enter" && rows.includes(e.target)) {
    e.target.querySelector("a")?.click();
  } else if (KEYS.includes(e.key) && !(e.target.type === "radio" && e.key.startsWith("Arrow"))) {
    go(moved(e.key));
  } else return;
  e.preventDefault();
});
for (const row of rows) row.addEventListener("focusin", () => mark(row));
for (const row of rows) row.addEventListener("click", (e) => e.target.closest("a") || go(row));
document.addEventListener("input", show);

if (rows.length) {
  $("controls").hidden = $("keys").hidden = false;
  mark(rows[0]);
  show();
}
