"use strict";
/* The first page: which method for whom, in words and as dots, then the suite. */

const LABELLED = new Set(["supervised", "semi-supervised", "semi-supervised-source"]);
const labelsOf = (at) => (LABELLED.has(settingOf(at)) ? (benchOf(at).labels < 0 ? "all" : String(benchOf(at).labels)) : "none");
const few = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0] || "");
const gained = (gain, ci) => signed(gain) + (known(ci) ? ` ± ${percent(ci)}` : "");

function start(state) {
  return [
    h("h1", {}, "Your images changed. Which method?"),
    h("p", { class: "soft" }, "Gains are points of accuracy over the source model, which is your classifier as it is, on the target's test images."),
    question(state), suite(), strip(),
  ];
}

/** Three selects; with labels, what else one has is whether the source is there too. */
function question({ query }) {
  const whole = (name, values, usual) => (values.map(String).includes(query.get(name)) ? Number(query.get(name)) : usual);
  const free = data.haves.filter(([, labels]) => labels === 0).map(([words]) => words);
  const have = whole("have", free.map((_, at) => at), free.length - 1);
  const first = data.answers.find((each) => each.method) || data.answers[0];
  const changed = whole("changed", data.changes.map((_, at) => at), first.change);
  const labels = have ? whole("labels", data.budgets, 0) : 0;
  const source = have === free.length - 1;
  const asked = labels === 0 ? have : data.haves.findIndex(([words, n]) => n === labels && words.includes("source") === source);
  const found = data.answers.find((each) => each.have === asked && each.change === changed);
  return h("section", { "aria-label": "Which method" },
    h("form", { class: "question", onsubmit: (event) => event.preventDefault() },
      choice("What do you have, beside the model?", "have", free.map((words, at) => [at, words]), have),
      choice("What changed?", "changed", data.changes.map((words, at) => [at, `the ${words}`]), changed),
      choice("How many target labels?", "labels", [["", "none"], ...(have ? data.budgets.map((n) => [n, n < 0 ? "all" : `${n} a class`]) : [])], labels || "", { disabled: !have })),
    found.method === null
      ? h("p", { class: "answer", "data-said": true }, "Not tried yet: no method that could be used then has two seeds on such a task of the suite. Until one has, keep the source model.")
      : answer(found));
}

function answer(found) {
  const names = found.methods.map((at) => data.methods[at].name);
  const at = names.indexOf(found.method);
  const where = `${found.tasks === 1 ? "on" : "on average over"} ${count(found.tasks, "task")}`;
  const words = found.method
    ? ["Take ", h("strong", {}, methodLink(found.method)), ` (${found.setting[at]}): ${gained(found.gain[at], found.ci[at])} points ${where}.`,
      found.alike.length > 0 && ` Nothing tells it from ${few(found.alike)}: choose the one that costs you least.`,
      found.stale && " Some of its rows are of older code."]
    : [h("strong", {}, "Keep the source model."), ` Of ${count(names.length, "method")}, none surely gains over ${count(found.tasks, "task")} on average without being worse on any.`];
  return [
    h("p", { class: "answer", "data-said": true }, words),
    names.length > 0 && [key(new Set(found.setting)),
      dots(names.map((_, line) => line), null, { mean: found.gain, half: found.ci, unit: "points", zero: true, label: (line) => names[line], group: (line) => found.setting[line], note: (line) => `n = ${found.n[line]}` }),
      h("p", { class: "small soft" }, "Mean gain with its 95 % interval over seeds and test images, of every method with all of these tasks; n is the fewest seeds on one. A method is named whose interval lies above zero and that is surely worse than the source model on no task; of several, the one that gains most.")],
  ];
}

function suite() {
  const { tasks: places, entries, stale: old } = data.suite;
  const stale = new Set(old);
  const lines = entries.map((line, at) => ({ name: data.methods[data.suite.method[at]].name, setting: data.suite.setting[at], entries: line, at }));
  if (!lines.length) return [h("h2", {}, "The suite"), h("p", {}, "No result of the suite yet; ", h("code", {}, "dabench run --tasks suite"), " makes them.")];
  const of = (name) => (line) => data.suite[name][line.at];
  const most = Math.max(1, ...entries.flat().filter((at) => at >= 0).map((at) => Math.abs(cells.gain[at] || 0)));
  const tenth = (value) => (value / TENTH).toFixed(1);
  const columns = [
    { id: "method", label: "method", head: true, always: true, value: (line) => line.name, cell: (line) => methodLink(line.name) },
    ...places.map(([task, changed, condition], n) => ({ id: data.tasks[task].name, label: data.tasks[task].name, under: `${changed}; ${condition}`, number: true,
      value: (line) => cells.gain[line.entries[n]], cell: (line) => gainCell(line.entries[n], stale, most) })),
    { id: "mean", label: "mean gain", number: true, value: of("gain"), cell: (line) => [signed(of("gain")(line)), of("incomplete")(line) && h("span", { class: "soft" }, ` (${of("over")(line)})`)] },
    { id: "worst", label: "worst", number: true, value: of("worst"), cell: (line) => signed(of("worst")(line)) },
    { id: "rank", label: "rank [95 %]", number: true, value: of("rank"), cell: (line) => (known(of("rank")(line)) ? tenth(of("rank")(line)) + (known(of("rank_low")(line)) ? ` [${tenth(of("rank_low")(line))}, ${tenth(of("rank_high")(line))}]` : "") : "–") },
    { id: "cost", label: "cost", number: true, value: (line) => (of("by_image")(line) ? of("ms_per_image")(line) / 1000 : of("seconds")(line)), cell: (line) => [of("by_image")(line) ? `${number(of("ms_per_image")(line))} ms/image` : seconds(of("seconds")(line)), of("cheap")(line) && h("span", { title: "no method of its setting gains more at less cost" }, " ◂", hidden(" on the Pareto front"))] },
  ];
  return [
    h("h2", {}, "The suite"),
    h("p", { class: "small soft" }, `Gain in points on ${count(places.length, "task")}, each under its one condition, methods that use labels with all of them. `,
      h("span", { class: "bad" }, "▼"), " significantly below source-only; ", stale.size ? "° of older code than today's; " : "",
      "– not run; (n) a mean over n tasks alone; ranks are inside a setting over the tasks that all its methods have; cost is the time of the adaptation, of test-time methods that of an image; ◂ no method of the setting gains more at less cost."),
    h("div", { class: "desk" }, table("The suite: gain over the source model, in points", columns, lines,
      { by: "suite", group: (line) => line.setting, heads: (line) => chip(line.setting), file: "suite.csv", picks: "hide" })),
    h("ul", { class: "cards phone" }, places.map((place, n) => card(place, n, lines, stale))),
  ];
}

/** The number, on a ground that is the stronger the larger it is: blue gains, orange losses. */
function gainCell(at, stale, most) {
  if (at < 0 || !known(cells.gain[at])) return h("span", { class: "soft" }, "–");
  const gain = cells.gain[at];
  const ground = `color-mix(in srgb, var(${gain < 0 ? "--loss" : "--win"}) ${Math.round(8 + 34 * Math.min(1, Math.abs(gain) / most))}%, transparent)`;
  return h("span", { class: "gain", style: `background:${Math.abs(gain) < 1 ? "none" : ground}`,
    title: `${gained(gain, cells.gain_ci[at])} points; ${interval(cells.mean[at], cells.ci[at])} %, ${count(cells.n[at], "seed")}` },
  signed(gain), cells.worse[at] ? h("span", { class: "bad" }, "▼", hidden(" significantly below source-only")) : null, stale.has(at) ? "°" : null);
}

/** A task on a phone: the best method of each setting. */
function card([task, changed, condition], n, lines, stale) {
  const there = lines.filter((line) => line.entries[n] >= 0);
  const best = distinct(there.map((line) => line.setting)).map((setting) => there.filter((line) => line.setting === setting)
    .reduce((a, b) => (cells.gain[b.entries[n]] > cells.gain[a.entries[n]] ? b : a)));
  return h("li", {}, taskLink(data.tasks[task].name), h("p", { class: "soft" }, `${changed}; ${condition}`),
    h("dl", { class: "facts" }, best.map((line) => [h("dt", {}, chip(line.setting)), h("dd", {}, methodLink(line.name), ` ${gained(cells.gain[line.entries[n]], cells.gain_ci[line.entries[n]])}`, stale.has(line.entries[n]) ? "°" : "")])));
}

function strip() {
  const shown = data.suite.tasks.filter(([task]) => data.sprites.includes(task));
  return shown.length ? h("section", {}, h("h2", {}, "What changes"), h("div", { class: "plots" }, shown.map(([task]) => h("figure", {},
    h("figcaption", {}, taskLink(data.tasks[task].name), ": source above, target below"), sprite(task))))) : null;
}
const sprite = (task) => h("img", { class: "sprite", src: `sprites/${task}.png`, loading: "lazy",
  alt: `Example pictures of ${data.tasks[task].source || "the source"} above and ${data.tasks[task].target || "the target"} below` });
