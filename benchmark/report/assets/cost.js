"use strict";
/* What a gain costs. */

const COSTS = [["seconds", "adaptation time", seconds], ["ms_per_image", "ms an image", number], ["peak_memory", "peak memory, MiB", number], ["trained_parameters", "trained weights", number]];

function cost({ query }) {
  const places = distinct(every.filter((at) => cells.main[at]).map((at) => `${cells.task[at]}:${cells.bench[at]}`));
  const options = places.map((place) => {
    const [taskAt, bench] = place.split(":").map(Number);
    return [`${data.tasks[taskAt].name}:${bench}`, [data.tasks[taskAt].name, apart(taskAt, bench)].filter(Boolean).join(", ")];
  }).sort((a, b) => a[1].localeCompare(b[1]));
  const asked = options.some(([value]) => value === query.get("task")) ? query.get("task") : "";
  const shown = COSTS.some(([id]) => id === query.get("x")) ? query.get("x") : "seconds";
  const [, words, text] = COSTS.find(([id]) => id === shown);
  let points;
  if (asked) {
    const cut = asked.lastIndexOf(":");
    const [taskAt, bench] = [byTask.get(asked.slice(0, cut)), Number(asked.slice(cut + 1))];
    points = every.filter((at) => cells.task[at] === taskAt && cells.bench[at] === bench && !cells.variant[at])
      .map((at) => ({ name: methodOf(at), setting: settingOf(at), x: cells[shown][at], y: cells.mean[at] }));
  } else {
    points = data.cost.method.map((name, at) => ({ name, setting: data.cost.setting[at], x: data.cost[shown][at], y: data.cost.gain[at] }));
  }
  points = points.filter((point) => known(point.x) && known(point.y));
  for (const point of points) if (point.x < .001) point.x = 0; // what source-only takes is the clock's own time
  const value = asked ? "accuracy, %" : "mean gain over source-only, points";
  return [h("h1", {}, "Cost"),
    h("form", {}, choice("Task", "task", [["", `${data.cost.suite ? "the suite" : "all"} (mean over ${count(data.cost.tasks, "shared task")})`], ...options], asked), choice("Cost", "x", COSTS.map(([id, label]) => [id, label]), shown)),
    h("p", { class: "small soft" }, `Up is better, left is cheaper. The line joins the methods that none beats at lower cost (the Pareto front), whatever they may see.${asked ? "" : ` Tasks that not all of these methods have are left out (${data.cost.of - data.cost.tasks} of ${data.cost.of}).`}`),
    points.length ? [key(new Set(points.map((point) => point.setting))), scatter(points, words, value, text),
      table(`${count(points.length, "method")}`, [
        { id: "method", label: "method", head: true, value: (point) => point.name, cell: (point) => methodLink(point.name) },
        { id: "y", label: asked ? "accuracy, %" : "gain, points", number: true, value: (point) => point.y, cell: (point) => (asked ? percent(point.y) : signed(point.y)) },
        { id: "x", label: words, number: true, value: (point) => point.x, cell: (point) => text(point.x) },
        { id: "front", label: "on the front", cell: (point) => (point.front ? "yes" : "") },
        { id: "setting", label: "setting", value: (point) => point.setting, cell: (point) => chip(point.setting) }], points, { by: "order", first: "-y" })]
      : h("p", {}, "No method has this cost recorded here.")];
}
