"use strict";
/* Tables that sort, and the columns of results. */

/** columns: {id, label, value(line) to sort by, cell(line) to show, number, head}; sorted as the address says.
    With `group`, lines stay with those of their group, under its name. */
function table(caption, columns, lines, { by = "sort", first = "", start = 200, group = null, heads = null, narrow = false, file = "", picks = "" } = {}) {
  const { query } = address();
  const away = new Set((query.get(picks) || "").split(",").filter(Boolean));
  const all = columns;
  columns = columns.filter((column) => column.always || !away.has(column.id));
  const wanted = query.get(by) || first;
  const unsorted = lines;
  const descending = wanted.startsWith("-");
  const sorting = columns.find((column) => column.value && column.id === wanted.replace("-", ""));
  if (sorting) {
    const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b) * (descending ? -1 : 1);
    const there = (line) => known(sorting.value(line)) && sorting.value(line) !== "";
    lines = [...lines].sort((a, b) => (there(b) - there(a)) || (there(a) ? order(sorting.value(a), sorting.value(b)) : 0));
  }
  if (group) {
    const groups = distinct(unsorted.map(group));
    lines = [...lines].sort((a, b) => groups.indexOf(group(a)) - groups.indexOf(group(b)));
  }
  const head = columns.map((column) => {
    const state = sorting === column ? (descending ? "descending" : "ascending") : null;
    const next = state ? (descending ? column.id : `-${column.id}`) : column.number ? `-${column.id}` : column.id;
    const content = column.value
      ? h("button", { type: "button", id: `${by}-${column.id}`, onclick: () => change({ [by]: next }) }, column.label)
      : column.label;
    return h("th", { scope: "col", class: column.number && "n", "aria-sort": state }, content, column.under && h("small", {}, column.under));
  });
  const body = h("tbody");
  let shown = 0;
  const more = h("button", { type: "button", onclick: () => add(1000) });
  function add(some) {
    for (const [at, line] of lines.slice(shown, shown + some).entries()) {
      const before = lines[shown + at - 1];
      if (group && (before === undefined || group(before) !== group(line))) {
        body.append(h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: columns.length }, (heads || ((each) => group(each).head()))(line))));
      }
      body.append(h("tr", {}, columns.map((column) => h(column.head ? "th" : "td",
        { scope: column.head && "row", class: [column.number && "n", column.class].filter(Boolean).join(" ") || null }, column.cell(line)))));
    }
    shown = Math.min(shown + some, lines.length);
    more.hidden = shown === lines.length;
    more.textContent = `Show more (${shown} of ${lines.length})`;
  }
  add(start);
  return h("div", {},
    h("div", { class: "tools" }, picks && columnPicker(all, away, picks), file && h("button", { type: "button", onclick: () => save(file, columns, lines) }, "Save as csv")),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: narrow && "narrow" }, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), body)), more);
}

/** Boxes for the columns; what is left out stands in the address. */
function columnPicker(columns, away, name) {
  const toggle = (id) => change({ [name]: columns.map((column) => column.id).filter((each) => (each === id) !== away.has(each)).join(",") });
  return h("details", { class: "small", open: away.size > 0 }, h("summary", {}, "Columns"), h("fieldset", {}, h("legend", {}, "Columns shown"),
    columns.filter((column) => !column.always).map((column) => h("label", {}, h("input", { type: "checkbox", id: `${name}-${column.id}`, checked: !away.has(column.id), onchange: () => toggle(column.id) }), column.label))));
}

/** Saves the lines and columns of a view, as they are sorted, filtered and written. */
function save(file, columns, lines) {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const text = (node) => h("span", {}, node).textContent.trim();
  const rows = [columns.map((column) => column.label), ...lines.map((line) => columns.map((column) => text(column.cell(line))))];
  const href = URL.createObjectURL(new Blob([rows.map((row) => row.map(quoted).join(",") + "\n").join("")], { type: "text/csv" }));
  h("a", { href, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

/** The interval as a bar with the mean in it, on a scale from low to high. */
function bar(mean, half, low, high, label, width = 130) {
  const x = (value) => Math.max(0, Math.min(width, ((value - low) / (high - low || 1)) * width));
  return s("svg", { width, height: 16, viewBox: `0 0 ${width} 16`, role: "img", "aria-label": label },
    s("title", {}, label),
    s("line", { x1: 0, x2: width, y1: 8, y2: 8, class: "grid" }),
    known(half) && s("rect", { x: x(mean - half), y: 4, width: Math.max(1, x(mean + half) - x(mean - half)), height: 8, rx: 2, fill: "var(--bar)", stroke: "var(--mark)", "stroke-opacity": .45 }),
    s("circle", { cx: x(mean), cy: 8, r: 3.2, fill: "var(--mark)" }));
}

const accuracyText = (at) => h("span", { class: cells.best[at] ? "best" : null }, interval(cells.mean[at], cells.ci[at]));
const flags = (at) => [
  cells.worse[at] ? h("span", { class: "bad", title: "significantly below source-only" }, " ▼", hidden(" negative transfer")) : null,
  cells.collapsed[at] ? h("span", { class: "bad", title: "a class is never recognised" }, " ∅", hidden(" collapse")) : null,
];

function published(at) {
  const bench = benchOf(at);
  return data.published.filter(([task, method, , , protocol, backbone]) => task === cells.task[at]
    && method === variantOf(at) && protocol === bench.protocol && backbone === bench.backbone);
}
function publishedCell(at) {
  const found = published(at);
  if (!found.length) return "";
  const button = h("button", { type: "button", "aria-expanded": "false", onclick: () => {
    const row = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) row.nextSibling.remove();
    else row.after(h("tr", { class: "open" }, h("td", { colspan: row.children.length }, found.map((each) =>
      h("div", {}, `${each[2].toFixed(1)}${known(each[3]) ? ` ± ${each[3]}` : ""} %: ${each[6]}`)))));
  } }, found[0][2].toFixed(1) + (found.length > 1 ? ` +${found.length - 1}` : ""));
  return button;
}

const apartOf = (at) => apart(cells.task[at], cells.bench[at]);
/** Without the columns that would be empty. */
const filled = (ids, lines) => ids.filter((id) => id !== "published" || lines.some((at) => published(at).length));
const forgetting = (at) => (known(cells.source_before[at]) && known(cells.source_after[at]) ? cells.source_after[at] - cells.source_before[at] : null);
const resultColumns = (lines) => {
  const means = lines.map((at) => cells.mean[at]);
  const low = Math.floor((means.reduce((a, b) => Math.min(a, b), 100 * POINT) - 2 * POINT) / 100) * 100;
  const from = Math.max(0, low);
  return {
    method: { id: "method", label: "method", head: true, value: variantOf, cell: (at) => methodLink(methodOf(at), variantOf(at)) },
    setting: { id: "setting", label: "setting", value: (at) => cells.setting[at], cell: (at) => chip(settingOf(at)) },
    task: { id: "task", label: "task", value: (at) => taskOf(at).name, cell: (at) => [taskLink(taskOf(at).name, { bench: cells.bench[at] }), h("small", { class: "soft" }, apartOf(at) && ` ${apartOf(at)}`)] },
    labels: { id: "labels", label: "labels", number: true, value: (at) => ({ none: 0, all: 1e9 })[labelsOf(at)] ?? Number(labelsOf(at)), cell: (at) => ({ none: "–" })[labelsOf(at)] ?? labelsOf(at) },
    accuracy: { id: "accuracy", label: "accuracy, %", number: true, value: (at) => cells.mean[at], cell: (at) => [accuracyText(at), flags(at)] },
    bar: { id: "bar", label: `${from / POINT} to 100 %, 95 % interval`,
      cell: (at) => bar(cells.mean[at], cells.ci[at], from, 100 * POINT, `${interval(cells.mean[at], cells.ci[at])} %`) },
    gain: { id: "gain", label: "gain, points", number: true, value: (at) => cells.gain[at], cell: (at) => signed(cells.gain[at]) },
    closed: { id: "closed", label: "gap closed", number: true, value: (at) => cells.gap_closed[at], cell: (at) => share(cells.gap_closed[at]) },
    seconds: { id: "seconds", label: "adaptation", number: true, value: (at) => cells.seconds[at], cell: (at) => seconds(cells.seconds[at]) },
    ms: { id: "ms", label: "ms/image", number: true, value: (at) => cells.ms_per_image[at], cell: (at) => number(cells.ms_per_image[at]) },
    memory: { id: "memory", label: "peak MiB", number: true, value: (at) => cells.peak_memory[at], cell: (at) => number(cells.peak_memory[at]) },
    parameters: { id: "parameters", label: "trained weights", number: true, value: (at) => cells.trained_parameters[at], cell: (at) => number(cells.trained_parameters[at]) },
    forgetting: { id: "forgetting", label: "change on source", number: true, value: forgetting, cell: (at) => signed(forgetting(at)) },
    ece: { id: "ece", label: "calibration error, %", number: true, value: (at) => cells.ece[at], cell: (at) => percent(cells.ece[at]) },
    nll: { id: "nll", label: "NLL, nat", number: true, value: (at) => cells.nll[at], cell: (at) => number(cells.nll[at]) },
    n: { id: "n", label: "seeds", number: true, value: (at) => cells.n[at], cell: (at) => String(cells.n[at]) },
    bench: { id: "bench", label: "protocol, backbone", cell: (at) => benchName(benchOf(at)) },
    published: { id: "published", label: "published", number: true, cell: publishedCell },
  };
};

const benchParts = (bench) => [bench.protocol, bench.backbone, `${bench.image_size} px`, bench.budget === 1 ? "" : `budget ${bench.budget}`,
  bench.target_images < 0 ? "" : `${bench.target_images} target images`, bench.labels < 0 ? "" : `${count(bench.labels, "label")} a class`];
const benchName = (bench) => benchParts(bench).filter(Boolean).join(", ");
const benchesOf = data.tasks.map(() => new Set());
for (const at of every) benchesOf[cells.task[at]].add(cells.bench[at]);
/** What tells a bench from the task's others; nothing where it is the only one. */
const apart = (task, bench) => benchParts(data.benches[bench])
  .filter((part, at) => [...benchesOf[task]].some((other) => benchParts(data.benches[other])[at] !== part))
  .filter(Boolean).join(", ");
