"use strict";
/* The pages of methods, and of two methods side by side. */

function methods() {
  return [h("h1", {}, "Methods"), data.settings.filter((setting) => data.methods.some((method) => method.setting === setting)).map((setting) => [
    h("h2", {}, chip(setting)), h("ul", { class: "cards" }, data.methods.filter((method) => method.setting === setting).map((method) =>
      h("li", {}, methodLink(method.name), h("p", {}, method.claim || "not installed here"), h("p", { class: "soft" }, method.paper || ""))))])];
}

/** Text with what stands between backticks as code. */
const coded = (text) => text.split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

function method({ name }) {
  if (!byMethod.has(name)) return missing("method", name);
  const facts = data.methods[byMethod.get(name)];
  const own = every.filter((at) => methodOf(at) === name);
  const first = own.filter((at) => cells.main[at]);
  const shown = (first.length ? first : own).filter((at) => known(cells.gain[at]))
    .sort((a, b) => taskOf(a).family.localeCompare(taskOf(b).family) || cells.gain[b] - cells.gain[a]).slice(0, 80);
  const label = (at) => [taskOf(at).name + (cells.variant[at] ? cells.variant[at].replace(name, " ") : ""), apartOf(at)].filter(Boolean).join(", ");
  const bad = data.bad.filter(([, variant]) => variant.split("[")[0] === name);
  const columns = resultColumns(own);
  const used = ["task", "accuracy", "bar", "gain", "closed", "published", "seconds", "ms", "memory", "parameters", "forgetting", "ece", "nll", "n", "bench"];
  const variants = { id: "method", label: "variant", cell: variantOf };
  return [
    h("h1", {}, name), h("p", {}, chip(facts.setting)),
    (facts.text || "").split(/\n\s*\n/).map((part) => (/^\s{2,}/.test(part) ? h("pre", {}, part.replace(/^ {4}/gm, "")) : part && h("p", {}, coded(part.trim().replace(/\s*\n\s*/g, " "))))),
    h("dl", { class: "facts" }, facts.paper ? [h("dt", {}, "paper"), h("dd", {}, facts.paper)] : null,
      facts.needs ? [h("dt", {}, "sees"), h("dd", {}, facts.needs.join(", ") || "nothing but the source model")] : null,
      facts.file ? [h("dt", {}, "code"), h("dd", {}, h("a", { href: facts.file }, `methods/${name}.py`))] : null),
    facts.parameters && facts.parameters.length ? [h("h2", {}, "Parameters"), table(`Parameters of ${name}`, [
      { id: "name", label: "name", head: true, cell: (each) => each[0] }, { id: "default", label: "default", cell: (each) => each[1] },
      { id: "allowed", label: "allowed", cell: (each) => each[2] }], facts.parameters, { narrow: true })] : null,
    shown.length ? [h("h2", {}, "Gain over the source model"), h("p", { class: "small soft" }, "Points of accuracy, mean and 95 % interval of the paired differences over seeds."),
      dots(shown, null, { mean: cells.gain, half: cells.gain_ci, unit: "points", label, zero: true })] : null,
    own.length ? [h("h2", {}, "Results and cost"), table(count(own.length, "result"),
      [{ ...columns.task, head: true }, ...(own.some((at) => cells.variant[at]) ? [variants] : []), ...filled(used.slice(1), own).map((id) => columns[id])], own)] : null,
    bad.length ? [h("h2", {}, "Without a result"), table("Failed and refused", [
      { id: "task", label: "task", head: true, cell: (each) => taskLink(data.tasks[each[0]].name) }, { id: "status", label: "status", cell: (each) => each[2] },
      { id: "n", label: "runs", number: true, cell: (each) => String(each[4]) }, { id: "reason", label: "reason", class: "text", cell: (each) => each[3] }], bad)] : null,
  ];
}

function compare({ query }) {
  return [h("h1", {}, "Compare"),
    h("p", { class: "soft" }, "Two or more methods, default hyper-parameters, on the tasks that both have. Each task is the leaderboard's test of a difference: paired over seeds and test images, corrected for the number of methods, at 5 %."),
    later("compare.js", () => DABENCH.compare, (all) => {
      const names = all.methods.map((at) => data.methods[at].name);
      const asked = (query.get("m") || "").split(",").filter((name) => names.includes(name));
      const toggle = (name, on) => change({ m: names.filter((each) => (each === name ? on : asked.includes(each))).join(",") });
      const boxes = h("fieldset", {}, h("legend", {}, "Methods"), names.map((name) => h("label", {},
        h("input", { type: "checkbox", id: `compare-${name}`, checked: asked.includes(name), onchange: (event) => toggle(name, event.target.checked) }), name)));
      if (asked.length < 2) return [boxes, h("p", {}, "Choose two methods.")];
      const pairs = all.pairs.filter(([a, b]) => [a, b].every((at) => asked.includes(data.methods[at].name)));
      if (!pairs.length) return [boxes, h("p", {}, "No task has both.")];
      const settings = distinct(asked.map((name) => data.methods[byMethod.get(name)].setting));
      return [boxes,
        settings.length > 1 ? h("p", { class: "small bad" }, `They are allowed to see different data: ${settings.join(", ")}.`) : null,
        h("ul", { class: "verdicts" }, pairs.map((pair) => h("li", {}, pair[2]))),
        pairs.map(([a, b, , columns, difference, half, p, verdict]) => {
          const [first, second] = [data.methods[a], data.methods[b]];
          const lines = columns.map((_, line) => line).sort((x, y) => difference[y] - difference[x]);
          const twice = (task) => columns.filter((column) => all.tasks[column] === task).length > 1;
          const label = (line) => data.tasks[all.tasks[columns[line]]].name + (twice(all.tasks[columns[line]]) ? `, ${all.benches[columns[line]].split(", ")[1]}` : "");
          return [h("h2", {}, `${first.name} − ${second.name}`), h("p", { class: "small soft" }, `Points of accuracy; right of zero ${first.name} is better.`),
            dots(lines, null, { mean: difference, half, unit: "points", label, zero: true, group: () => first.setting }),
            h("details", {}, h("summary", {}, "Numbers"), table(`${first.name} − ${second.name}`, [
              { id: "task", label: "task", head: true, cell: (line) => taskLink(data.tasks[all.tasks[columns[line]]].name) },
              { id: "difference", label: "difference, points", number: true, cell: (line) => signed(difference[line]) + (known(half[line]) ? ` ± ${percent(half[line])}` : "") },
              { id: "verdict", label: `${first.name} is`, cell: (line) => (known(verdict[line]) ? ["worse", "not told apart", "better"][verdict[line] + 1] : "not tested") },
              { id: "p", label: "p, corrected", number: true, cell: (line) => (known(p[line]) ? String(p[line]) : "–") },
              { id: "bench", label: "protocol, backbone", cell: (line) => all.benches[columns[line]] }], lines))];
        })];
    })];
}
