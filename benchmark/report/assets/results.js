"use strict";
/* Every result, and the ranks of methods over tasks. */

const FILTERS = [
  ["setting", "Setting", settingOf], ["family", "Family", (at) => taskOf(at).family], ["task", "Task", (at) => taskOf(at).name],
  ["labels", "Labels", labelsOf], ["backbone", "Backbone", (at) => benchOf(at).backbone], ["protocol", "Protocol", (at) => benchOf(at).protocol],
  ["budget", "Budget", (at) => budgetName(benchOf(at))],
];
function budgetName(bench) {
  const parts = [bench.budget === 1 ? "full" : `${bench.budget} of the steps`];
  if (bench.target_images >= 0) parts.push(`${bench.target_images} target images`);
  return parts.join(", ");
}
const inOrder = (a, b) => cells.task[a] - cells.task[b] || cells.bench[a] - cells.bench[b] || cells.setting[a] - cells.setting[b] || cells.mean[b] - cells.mean[a];
const valuesOf = FILTERS.map(([, , of]) => distinct(every.map(of)).sort());

function results({ query }) {
  const asked = (name) => query.get(name) || "";
  const words = asked("q").toLowerCase();
  const lines = every.filter((at) => FILTERS.every(([name, , of]) => !asked(name) || of(at) === asked(name))
    && (asked("variants") || !cells.variant[at]) && (!words || variantOf(at).toLowerCase().includes(words)));
  const columns = resultColumns(lines);
  const used = ["task", "labels", "method", "setting", "accuracy", "bar", "gain", "closed", "published", "seconds", "ms", "memory", "parameters", "forgetting", "ece", "nll", "n", "bench"];
  const narrowed = ["task", "labels", "backbone", "protocol", "budget"].some(asked);
  return [
    h("h1", {}, "Every result"),
    h("p", { class: "soft" }, "Accuracy on the target's test images, mean and 95 % interval over seeds, of the model that the method returns. Methods that see different data stand in different settings and are not ranked against each other."),
    h("form", { "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
      FILTERS.map(([name, label], at) => choice(label, name, plain(valuesOf[at], "all"), asked(name))),
      choice("Variants", "variants", [["", "as they come"], ["all", "all variants"]], asked("variants")),
      h("label", {}, "Method", h("input", { id: "choose-q", type: "search", name: "q", value: query.get("q"), oninput: (event) => change({ q: event.target.value }, { replaces: Boolean(query.get("q")) }) })),
      h("button", { type: "button", onclick: () => { location.hash = "#/results"; } }, "Clear")),
    h("p", { class: "small soft" }, "Bold: not told apart from the best of its setting on that task (paired test over seeds, Holm, 5 %). ",
      h("span", { class: "bad" }, "▼"), " significantly below source-only; ", h("span", { class: "bad" }, "∅"), " a class is never recognised. Gain is over the source model, in points."),
    lines.length ? table(count(lines.length, "result"), filled(used, lines).map((name) => ({ ...columns[name], always: name === "method" })), lines.sort(inOrder), { file: "results.csv", picks: "hide" })
      : h("p", { "data-said": true }, "No result has all of these; clear a filter."),
    narrowed || words ? null : ranks(asked("family"), asked("setting")),
  ];
}

function ranks(family, setting) {
  const groups = (data.overall[family] || []).filter((group) => !setting || group.setting === setting);
  if (!groups.length) return null;
  const most = Math.max(2, ...groups.flatMap((group) => [...group.high, ...group.rank].filter(known))) / TENTH;
  const tenth = (value) => (value / TENTH).toFixed(1);
  const lines = groups.flatMap((group) => group.method.map((_, at) => ({ group, at })));
  for (const group of groups) group.head = () => [chip(group.setting), h("span", { class: "soft" }, ` · ${count(group.tasks.length, "task")}`)];
  const of = (name) => ({ group, at }) => group[name][at];
  const ranked = ({ group, at }) => group.method.length > 1 && known(group.rank[at]);
  const x = (value) => 6 + ((value / TENTH - 1) / (most - 1)) * 118;
  const drawn = ({ group, at }) => ranked({ group, at }) && s("svg", { width: 130, height: 16, role: "img", "aria-label": `rank ${tenth(group.rank[at])}` },
    s("line", { x1: 6, x2: 124, y1: 8, y2: 8, class: "grid" }),
    known(group.low[at]) && s("line", { x1: x(group.low[at]), x2: x(group.high[at]), y1: 8, y2: 8, stroke: "var(--mark)", "stroke-width": 3 }),
    mark(group.setting, x(group.rank[at]), 8));
  const words = ({ group, at }) => (ranked({ group, at }) ? tenth(group.rank[at]) + (known(group.low[at]) ? ` [${tenth(group.low[at])}, ${tenth(group.high[at])}]` : "") : "–");
  const gained = (line) => signed(of("gain")(line)) + (known(of("gain_low")(line)) ? ` [${signed(of("gain_low")(line))}, ${signed(of("gain_high")(line))}]` : "");
  const without = (group) => Object.entries(group.lacking).map(([task, methods]) => `${task} (no ${methods.join(", ")})`).join("; ");
  const few = (group) => Object.entries(group.left_out).map(([method, n]) => `${method} (${n})`).join(", ");
  const notes = groups.flatMap((group) => [
    without(group) && h("li", {}, `${group.setting} is ranked without ${without(group)}.`),
    few(group) && h("li", {}, `${group.setting} leaves out, with fewer than half of its tasks, ${few(group)}.`)]).filter(Boolean);
  return h("section", {}, h("h2", {}, family ? `Ranks over ${family}` : "Ranks over all tasks"),
    h("p", { class: "small soft" }, "Mean rank over the tasks that all methods of the setting have (1 is best), gain in points over source-only, both with a bootstrap interval over families, tasks and seeds. Gap closed is the share of the way from source-only to training on every target label."),
    table("Methods ranked inside their setting", [
      { id: "method", label: "method", head: true, value: of("method"), cell: (line) => methodLink(of("method")(line)) },
      { id: "gain", label: "gain, points [95 %]", number: true, value: of("gain"), cell: gained },
      { id: "closed", label: "gap closed", number: true, value: of("gap_closed"), cell: (line) => share(of("gap_closed")(line)) },
      { id: "rank", label: "mean rank [95 %]", number: true, value: of("rank"), cell: words },
      { id: "drawn", label: `1 to ${Math.ceil(most)}`, cell: drawn },
      { id: "seconds", label: "adaptation", number: true, value: of("seconds"), cell: (line) => seconds(of("seconds")(line)) },
      { id: "ms", label: "ms/image", number: true, value: of("ms_per_image"), cell: (line) => number(of("ms_per_image")(line)) },
    ], lines, { by: "ranks", first: "rank", group: (line) => line.group }),
    notes.length ? h("details", { class: "small soft" }, h("summary", {}, "Tasks and methods left out"), h("ul", {}, notes)) : null);
}
