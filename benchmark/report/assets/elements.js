"use strict";
/* What every page is made of: the data, elements, numbers in words, and the address, which is the whole state of a page:
   #/page?name=value. The scripts share their top-level names; index.html gives their order. Nothing is fetched: further
   data comes as scripts of the same folder, which a page opened from disk may load. */

const data = DABENCH.data;
const cells = data.cells;
const every = cells.task.map((_, at) => at);
const settingOf = (at) => data.settings[cells.setting[at]];
const taskOf = (at) => data.tasks[cells.task[at]];
const benchOf = (at) => data.benches[cells.bench[at]];
const methodOf = (at) => data.methods[cells.method[at]].name;
const variantOf = (at) => cells.variant[at] || methodOf(at);
const byTask = new Map(data.tasks.map((task, number) => [task.name, number]));
const byMethod = new Map(data.methods.map((method, number) => [method.name, number]));

// The colours are told apart by the colour-blind; a shape says the same again.
const SHAPES = {
  circle: "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z", square: "M-4.4-4.4H4.4V4.4H-4.4Z", diamond: "M0-6L6 0L0 6L-6 0Z",
  triangle: "M0-6L5.6 4.5H-5.6Z", down: "M0 6L5.6-4.5H-5.6Z",
  cross: "M-1.7-5.5H1.7V-1.7H5.5V1.7H1.7V5.5H-1.7V1.7H-5.5V-1.7H-1.7Z",
  star: "M0-6.2L1.7-2H6.2L2.6.9L3.9 5.4L0 2.8L-3.9 5.4L-2.6.9L-6.2-2H-1.7Z",
};
const look = (setting) => {
  const [light, dark, shape] = data.looks[setting];
  return [`light-dark(${light}, ${dark})`, shape];
};

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const mark = (setting, x, y, title, scale = 1) => s("path", {
  d: SHAPES[look(setting)[1]], transform: `translate(${x} ${y}) scale(${scale})`, fill: look(setting)[0],
}, title && s("title", {}, title));
const chip = (setting) => h("span", { class: "setting" },
  s("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, mark(setting, 0, 0)), setting);
const key = (settings) => h("ul", { class: "key" },
  data.settings.filter((name) => settings.has(name)).map((name) => h("li", {}, chip(name))));

const known = (value) => value !== null && value !== undefined;
const TENTH = 10; // ranks come in tenths
const POINT = 10; // accuracies come in tenths of a percent, rounded as leaderboard.md rounds them
const percent = (value) => (known(value) ? (value / POINT).toFixed(1) : "–");
const minus = (value) => (value < 0 ? "−" : "") + Math.abs(value);
const share = (value) => (known(value) ? `${minus(value)} %` : "–");
const signed = (value) => (known(value) ? (value > 0 ? "+" : value < 0 ? "−" : "") + percent(Math.abs(value)) : "–");
const seconds = (value) => (!known(value) ? "–" : value < .001 ? "0 s" : value < .05 ? "< 0.1 s" : value < 100 ? `${value.toFixed(1)} s` : `${(value / 60).toFixed(1)} min`);
const number = (value) => (known(value) ? value.toLocaleString("en") : "–");
const interval = (mean, half) => percent(mean) + (known(half) ? ` ± ${percent(half)}` : "");
const hidden = (text) => h("span", { class: "unseen" }, text);
const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;

function address() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [page, ...rest] = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { page: page || "", name: rest.join("/"), query: new URLSearchParams(query || "") };
}
function link(page, name = "", query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && known(value));
  const asked = new URLSearchParams(kept).toString();
  return `#/${[page, name && encodeURIComponent(name)].filter(Boolean).join("/")}${asked ? "?" + asked : ""}`;
}
const taskLink = (name, query) => h("a", { href: link("task", name, query) }, name);
const methodLink = (name, label = name) => (byMethod.has(name) ? h("a", { href: link("method", name) }, label) : label);
/** The same page with other values, which Back undoes; the letters of one word are one step. */
function change(values, { replaces = false } = {}) {
  const { page, name, query } = address();
  const next = link(page, name, { ...Object.fromEntries(query), ...values });
  history[replaces ? "replaceState" : "pushState"](null, "", next);
  const focused = document.activeElement && document.activeElement.id;
  const top = scrollY;
  show(false);
  const again = focused && document.getElementById(focused);
  if (again) again.focus({ preventScroll: true });
  if (again && again.type === "search") again.setSelectionRange(again.value.length, again.value.length);
  scrollTo({ top, behavior: "instant" });
  const said = document.querySelector("main [data-said]") || [...document.querySelectorAll("main caption")].at(-1);
  document.querySelector("[role=status]").textContent = said ? said.textContent : "";
}

function choice(label, name, options, chosen, { disabled = false } = {}) {
  return h("label", {}, label, h("select", { id: `choose-${name}`, name, disabled, onchange: (event) => change({ [name]: event.target.value }) },
    options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text))));
}
const plain = (values, all) => [...(all ? [["", all]] : []), ...values.map((value) => [value, value])];
const distinct = (values) => [...new Set(values)];
