// Words, numbers and pictures of the page. Nothing here asks the agent, and everything from it becomes text, never markup.

/** `0 B`, `17.3 MiB`; as shipper/agent/text.py has them. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "-";
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(value) < 1024) return unit === "B" ? `${Math.round(value)} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TiB`;
}

/** `0 s`, `4.2 s`, `3 m`, `5 h 10 m`, `2 d 3 h`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  if (seconds < 60) return seconds >= 0.05 && seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export const count = (number) => Math.round(number).toLocaleString("en");

/** A share in percent: `0 %` is nothing, `< 1 %` is something. */
export const percent = (part, whole) => (part > 0 && part < whole / 100 ? "< 1 %" : `${Math.round((100 * part) / whole)} %`);

export const clock = (date) => date.toLocaleTimeString([], { hour12: false });

/** Bytes a second; `-` where that is not known yet. */
export const rate = (perSecond) => (perSecond === null || perSecond === undefined ? "-" : `${size(perSecond)}/s`);

/** An element with this text. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

/** The text of an element, touched only where it differs: a screen reader is told of changes alone, a selection stays. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** As `say`; what stands between backticks is shown as code. */
export function sayWithCode(target, text) {
  if (target.dataset.said === text) return;
  target.dataset.said = text;
  target.replaceChildren(...text.split("`").map((part, at) => (at % 2 ? element("code", "", part) : part)));
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 90, HEIGHT = 20, LEAST = 4096;

/** An empty sparkline; `drawSpark` fills it. */
export function spark() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  for (const name of ["ground", "under", "over"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  svg.append(document.createElementNS(SVG, "title"));        // for the mouse
  svg.firstChild.setAttribute("d", `M0 ${HEIGHT - 0.5}H${WIDTH}`);
  return svg;
}

/** `points`: oldest first, null is a hole; the newest stands at the right edge. `words` says in text what is drawn. What is
 *  less than `least` is not blown up to the whole height. */
export function drawSpark(svg, points, name, words, stepS, least = LEAST) {
  const label = describe(points, name, words, stepS);
  if (svg.getAttribute("aria-label") !== label) {
    svg.setAttribute("aria-label", label);
    svg.lastChild.textContent = label;
  }
  const drawn = paths(points, least);
  svg.childNodes[1].setAttribute("d", drawn.under);
  svg.childNodes[2].setAttribute("d", drawn.over);
}

function paths(points, least) {
  const most = Math.max(least, ...points.map((value) => value ?? 0));
  const x = (at) => WIDTH - points.length + at + 0.5;
  const y = (value) => (HEIGHT - 1 - (value / most) * (HEIGHT - 3)).toFixed(1);
  let over = "", under = "", began = null;
  points.forEach((value, at) => {
    if (value === null) return;
    const first = points[at - 1] === null || at === 0, last = points[at + 1] === null || at === points.length - 1;
    if (first) began = at;
    over += `${first ? "M" : "L"}${x(at)} ${y(value)}${first && last ? "h.01" : ""}`;
    under += `${first ? `M${x(at)} ${HEIGHT}L` : "L"}${x(at)} ${y(value)}`;
    if (last) under += `V${HEIGHT}H${x(began)}Z`;
  });
  return { over, under };
}

function describe(points, name, words, stepS) {
  const known = points.filter((value) => value !== null);
  if (!known.length) return `${name}: nothing measured yet`;
  const minutes = Math.max(1, Math.round((points.length * stepS) / 60));
  return `${name}, last ${minutes} min: now ${words(known.at(-1))}, lowest ${words(Math.min(...known))}, highest ${words(Math.max(...known))}`;
}

/** The sum of several pasts, from the right; a hole where all have one. */
export function sum(pasts) {
  const length = Math.max(0, ...pasts.map((past) => past.length));
  return Array.from({ length }, (_, at) => {
    const here = pasts.map((past) => past[at - length + past.length]).filter((value) => value !== null && value !== undefined);
    return here.length ? here.reduce((a, b) => a + b, 0) : null;
  });
}

/** Rows of a table body by key: those that stay keep their elements (and the focus in them), in the order of `items`. */
export function rows(body, items, key, make, fill) {
  const had = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const used = new Set();
  items.forEach((item, at) => {
    let name = key(item);
    while (used.has(name)) name += "'";
    used.add(name);
    const row = had.get(name) ?? make(item);
    had.delete(name);
    row.dataset.key = name;
    if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
    fill(row, item);
  });
  for (const gone of had.values()) gone.remove();
}

/** A row: its first cell is its header. `labels`: what each cell says of itself on a phone. */
export function row(labels, wide = []) {
  const made = element("tr");
  made.setAttribute("role", "row");
  labels.forEach((label, at) => {
    const cell = element(at ? "td" : "th", wide.includes(label) ? "wide" : label === "State" ? "state-cell" : at ? "number" : "");
    cell.setAttribute("role", at ? "cell" : "rowheader");
    if (!at) cell.scope = "row";
    cell.dataset.label = label;
    made.append(cell);
  });
  return made;
}
