"use strict";
/* The pages of tasks: facts, dot plots, curves over the checkpoints, confusions. */

/** Runs `draw` when the script has given its data; on the page until then stands that it is coming. */
function later(file, given, draw) {
  const place = h("div", {}, h("p", { class: "soft" }, "Loading …"));
  const put = () => place.replaceChildren(...[draw(given())].flat(Infinity).filter(Boolean));
  if (given()) put();
  else {
    const script = h("script", { src: file, onload: put, onerror: () => place.replaceChildren(`${file} is missing; write the site anew.`) });
    document.body.append(script);
  }
  return place;
}

function tasks() {
  const families = distinct(data.tasks.map((task) => task.family)).sort();
  const lineOf = new Map();
  for (const at of every) lineOf.set(cells.task[at], (lineOf.get(cells.task[at]) || new Set()).add(cells.method[at]));
  return [h("h1", {}, "Tasks"), families.map((family) => [h("h2", {}, family), h("ul", { class: "cards" },
    data.tasks.map((task, number) => [task, number]).filter(([task]) => task.family === family).map(([task, number]) => h("li", {},
      taskLink(task.name), h("p", { class: "soft" }, [task.source && `${task.source} → ${task.target}`, count((lineOf.get(number) || new Set()).size, "method")].filter(Boolean).join(" · ")),
      task.note ? h("p", {}, task.note) : null)))])];
}

function task({ name, query }) {
  const numberOf = byTask.get(name);
  if (numberOf === undefined) return missing("task", name);
  const facts = data.tasks[numberOf];
  const own = every.filter((at) => cells.task[at] === numberOf);
  const benches = distinct(own.map((at) => cells.bench[at])).sort((a, b) => a - b);
  const asked = Number(query.get("bench"));
  const bench = query.has("bench") && benches.includes(asked) ? asked : benches[0];
  const inside = own.filter((at) => cells.bench[at] === bench);
  const order = [...inside].sort((a, b) => cells.setting[a] - cells.setting[b] || cells.mean[b] - cells.mean[a]);
  const bad = data.bad.filter(([at]) => at === numberOf);
  const protocol = bench !== undefined && facts.protocols && facts.protocols[data.benches[bench].protocol];
  const columns = resultColumns(inside);
  const used = ["method", "accuracy", "bar", "setting", "gain", "closed", "published", "seconds", "ms", "memory", "parameters", "forgetting", "ece", "nll", "n"];
  const others = data.published.filter(([at]) => at === numberOf);
  const rowsOf = (entries) => entries.filter(([, text]) => text && text.length).flatMap(([label, text]) => [h("dt", {}, label), h("dd", {}, text)]);
  return [
    h("h1", {}, name),
    facts.source ? h("p", {}, `Trained on ${facts.source}, then the world becomes ${facts.target}.`) : null,
    h("dl", { class: "facts" }, rowsOf([
      ["family", facts.family], ["camera", facts.camera], ["adapts on", protocol && protocol[0]], ["scores on", protocol && protocol[1]],
      ["classes", Array.isArray(facts.classes) ? facts.classes.join(", ") : facts.classes && String(facts.classes)],
      ["images", facts.shape && facts.shape.join(" × ")], ["note", facts.note], ["partial data", facts.partial.join("; ")],
      ["licence", facts.licence], ["from", facts.citation],
    ])),
    benches.length > 1 ? h("form", {}, choice("Protocol, backbone, budget", "bench", benches.map((at) => [at, benchName(data.benches[at])]), bench))
      : benches.length ? h("p", { class: "soft" }, benchName(data.benches[bench])) : h("p", {}, "No method has a result here yet."),
    later(`task-${numberOf}.js`, () => DABENCH.details[numberOf], (details) => [
      data.sprites.includes(numberOf) ? h("figure", {}, h("figcaption", {}, "Source above, target below"), sprite(numberOf)) : null,
      inside.length ? [
        h("h2", {}, "Accuracy of every method"), key(new Set(inside.map(settingOf))), dots(order, details.seeds),
        h("h2", {}, "Numbers"), table(count(inside.length, "method"), filled(used, inside).map((id) => columns[id]), order),
      ] : null,
      others.length ? [h("h2", {}, "Published"), table("Published numbers, with the protocol and backbone of each", [
        { id: "method", label: "method", head: true, cell: (each) => methodLink(each[1]) },
        { id: "accuracy", label: "accuracy, %", number: true, cell: (each) => each[2].toFixed(1) + (known(each[3]) ? ` ± ${each[3]}` : "") },
        { id: "bench", label: "protocol, backbone", cell: (each) => `${each[4]}, ${each[5]}` },
        { id: "source", label: "from", class: "text", cell: (each) => each[6] },
      ], others)] : null,
      checkpoints(order, details, query), confusions(order, details, facts, query),
    ]),
    bad.length ? [h("h2", {}, "Without a result"), table("Failed and refused", [
      { id: "method", label: "method", head: true, cell: (each) => methodLink(each[1].split("[")[0], each[1]) },
      { id: "status", label: "status", cell: (each) => each[2] }, { id: "n", label: "runs", number: true, cell: (each) => String(each[4]) },
      { id: "reason", label: "reason", class: "text", cell: (each) => each[3] },
    ], bad)] : null,
  ];
}

const SCORES = ["blue", "red", "green", "pink", "orange", "sky"].map((name) => `var(--${name})`);
const scoreLook = (number) => ({ d: [SHAPES.diamond, SHAPES.square, SHAPES.triangle, SHAPES.star][Math.floor(number / SCORES.length) % 4], fill: SCORES[number % SCORES.length] });

function checkpoints(lines, details, query) {
  const drawn = lines.filter((at) => details.curves[at] && details.curves[at].accuracy.length > 1);
  if (!drawn.length) return null;
  const scores = distinct(drawn.flatMap((at) => Object.keys(details.curves[at].chosen))).sort();
  const all = drawn.flatMap((at) => details.curves[at].accuracy);
  const low = Math.max(0, Math.min(...all) - 2 * POINT);
  const high = Math.min(100 * POINT, Math.max(...all) + 2 * POINT);
  const [width, height] = [340, 180];
  const x = (share) => 36 + (share / 1000) * (width - 46);
  const y = (value) => 8 + ((high - value) / (high - low)) * (height - 34);
  const shown = scores.includes(query.get("score")) ? query.get("score") : "";
  return [h("h2", {}, "Over the checkpoints"),
    h("p", { class: "small soft" }, "Mean target accuracy at each checkpoint. A mark shows what a label-free score chooses, on average over seeds; the ring is the best checkpoint, which only target test labels would show."),
    scores.length ? h("form", {}, choice("Score", "score", plain(scores, "all scores"), shown)) : null,
    h("div", { class: "plots" }, drawn.map((at) => {
      const curve = details.curves[at];
      const best = curve.accuracy.indexOf(Math.max(...curve.accuracy));
      const chosen = Object.entries(curve.chosen).filter(([score]) => !shown || score === shown);
      return h("figure", {}, h("figcaption", {}, variantOf(at)), s("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
        "aria-label": `${variantOf(at)}: from ${percent(curve.accuracy[0])} to ${percent(curve.accuracy.at(-1))} %` },
      ticks(low / POINT, high / POINT, 4).map((tick) => [s("line", { x1: 36, x2: width - 10, y1: y(tick * POINT), y2: y(tick * POINT), class: "grid" }),
        s("text", { x: 30, y: y(tick * POINT) + 4, "text-anchor": "end", class: "soft" }, String(tick))]),
      [0, 50, 100].map((tick) => s("text", { x: x(tick * 10), y: height - 6, "text-anchor": tick === 100 ? "end" : "middle", class: "soft" }, `${tick} %`)),
      s("polyline", { points: curve.accuracy.map((value, step) => `${x(curve.progress[step])},${y(value)}`).join(" "), fill: "none", stroke: look(settingOf(at))[0], "stroke-width": 2 }),
      s("circle", { cx: x(curve.progress[best]), cy: y(curve.accuracy[best]), r: 7, fill: "none", stroke: "var(--text)" }, s("title", {}, `best: ${percent(curve.accuracy[best])} %`)),
      chosen.map(([score, [share, value]]) => {
        return s("path", { ...scoreLook(scores.indexOf(score)), transform: `translate(${x(share)} ${y(value)})`, stroke: "var(--page)" }, s("title", {}, `${score}: ${percent(value)} %`));
      })));
    })),
    h("ul", { class: "key" }, scores.filter((score) => !shown || score === shown).map((score) => h("li", { class: "setting" },
      s("svg", { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, s("path", scoreLook(scores.indexOf(score)))), score))),
  ];
}

function confusions(lines, details, facts, query) {
  const drawn = lines.filter((at) => details.after[at]);
  if (!drawn.length) return null;
  const at = drawn.find((each) => variantOf(each) === query.get("confusion")) ?? drawn.find((each) => !["source_only", "target_supervised"].includes(methodOf(each))) ?? drawn[0];
  const name = (label) => (Array.isArray(facts.classes) ? facts.classes[label] ?? String(label) : String(label));
  const sides = [["Before", details.before[at]], ["After", details.after[at]]].filter(([, shares]) => shares)
    .map(([when, shares]) => [when, typeof shares === "string" ? matrixOf(shares) : shares, typeof shares === "string"]);
  return [h("h2", {}, "Confusions"), h("p", { class: "small soft" }, "Percent of each true class (line) that was taken for each class (column), all seeds together."),
    h("form", {}, choice("Method", "confusion", plain(distinct(drawn.map(variantOf))), variantOf(at))),
    h("div", { class: "plots" }, sides.map(([when, matrix, whole]) => h("figure", {}, h("figcaption", {}, when),
      whole ? matrixPlot(matrix, name, when) : table(`${when}: most frequent mistakes`, [
        { id: "true", label: "true", head: true, cell: (each) => name(each[0]) }, { id: "said", label: "taken for", cell: (each) => name(each[1]) },
        { id: "share", label: "percent", number: true, cell: (each) => String(each[2]) }], matrix))))];
}

/** A character for each percent, counted from #. */
function matrixOf(text) {
  const shares = [...text].map((letter) => letter.codePointAt(0) - 35);
  const size = Math.sqrt(shares.length);
  return Array.from({ length: size }, (_, line) => shares.slice(line * size, (line + 1) * size));
}

function matrixPlot(matrix, name, when) {
  const size = matrix.length;
  const names = matrix.map((_, label) => name(label));
  const long = Math.min(110, 10 + 6.4 * Math.max(...names.map((each) => each.length)));
  const side = Math.min(30, (400 - long) / size);
  const wide = size * side;
  return s("svg", { class: "plot", viewBox: `0 0 ${long + wide + 2} ${wide + long}`, role: "img", style: `max-width:${(long + wide) * 1.15}px`,
    "aria-label": `${when}: ${matrix.map((line, at) => `${name(at)} recognised ${line[at]} %`).join(", ")}` },
  matrix.map((line, at) => [
    s("text", { x: long - 5, y: at * side + side / 2 + 4, "text-anchor": "end" }, names[at].slice(0, 16)),
    line.map((value, said) => [
      s("rect", { x: long + said * side, y: at * side, width: side - 1, height: side - 1, fill: at === said ? "var(--mark)" : "var(--red)", "fill-opacity": Math.max(.04, value / 100) },
        s("title", {}, `${names[at]} taken for ${names[said] ?? said}: ${value} %`)),
      side > 20 && value > 0 ? s("text", { x: long + said * side + side / 2 - .5, y: at * side + side / 2 + 4, "text-anchor": "middle", style: `font-size:10px;pointer-events:none${value > 50 ? ";fill:var(--page)" : ""}` }, String(value)) : null])]),
  names.map((each, at) => s("text", each.length > 2
    ? { transform: `translate(${long + at * side + side / 2 + 4} ${wide + 8}) rotate(-60)`, "text-anchor": "end" }
    : { x: long + at * side + side / 2, y: wide + 15, "text-anchor": "middle" }, each.slice(0, 16))));
}
