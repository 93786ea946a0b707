// What a browser adds where it may run scripts: tables that are sorted by a column, and pages that
// keep themselves fresh while something on them is at work.
"use strict";

const numberOf = (text) => {
  const units = { bytes: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 };
  const found = text.replace(/[\s\u202f](?=\d{3}\b)/g, "").match(/^(-?[\d.]+(?:e[-+]?\d+)?)\s*([A-Za-z]*)/);
  return found ? Number(found[1]) * (units[found[2]] ?? 1) : Number.NEGATIVE_INFINITY;
};

const sortBy = (table, index, heading) => {
  const isNumber = heading.classList.contains("number");
  const isUp = heading.getAttribute("aria-sort") !== "ascending";
  const key = (row) => {
    const cell = row.cells[index];
    const time = cell.querySelector("time");
    const text = time ? time.dateTime : cell.textContent.trim();
    return isNumber ? numberOf(text) : text.toLowerCase();
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0) * (isUp ? 1 : -1));
  for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  table.tBodies[0].append(...rows.map(([, row]) => row));
};

for (const table of document.querySelectorAll("main table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, index, heading));
    heading.append(button);
  });
}

// Nothing is taken away from somebody who reads, writes or has opened something.
const isIdle = () =>
  !document.hidden &&
  getSelection().isCollapsed &&
  !document.querySelector("main details[open]") &&
  !document.activeElement?.matches("input, textarea, select, main *");
const script = document.currentScript ?? document.querySelector("script[data-moving]");
if (script?.hasAttribute("data-moving")) {
  setInterval(() => {
    if (isIdle()) location.reload();
  }, 4000);
}
