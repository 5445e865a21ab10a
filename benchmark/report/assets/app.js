"use strict";
/* Draws the pages from what the report computed. The address after # is the whole state: #/page?name=value.
   Nothing is fetched: further data comes as scripts of the same folder, which a page opened from disk may load. */
(() => {
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

  // ------------------------------------------------------------------------------------------ making elements

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
  const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;

  // -------------------------------------------------------------------------------------------------- address

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
  /** The same page with other values; a view that is being set up is no step back in the history. */
  function change(values) {
    const { page, name, query } = address();
    history.replaceState(null, "", link(page, name, { ...Object.fromEntries(query), ...values }));
    const focused = document.activeElement && document.activeElement.id;
    const top = scrollY;
    show(false);
    const again = focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
    if (again && again.type === "search") again.setSelectionRange(again.value.length, again.value.length);
    scrollTo({ top, behavior: "instant" });
  }

  function choice(label, name, options, chosen) {
    return h("label", {}, label, h("select", { id: `choose-${name}`, name, onchange: (event) => change({ [name]: event.target.value }) },
      options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text))));
  }
  const plain = (values, all) => [...(all ? [["", all]] : []), ...values.map((value) => [value, value])];
  const distinct = (values) => [...new Set(values)];

  // --------------------------------------------------------------------------------------------------- tables

  /** columns: {id, label, value(line) to sort by, cell(line) to show, number, head}; sorted as the address says.
      With `group`, lines stay with those of their group, under its name. */
  function table(caption, columns, lines, { by = "sort", first = "", start = 200, group = null, narrow = false } = {}) {
    const { query } = address();
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
      return h("th", { scope: "col", class: column.number && "n", "aria-sort": state }, content);
    });
    const body = h("tbody");
    let shown = 0;
    const more = h("button", { type: "button", onclick: () => add(1000) });
    function add(some) {
      for (const [at, line] of lines.slice(shown, shown + some).entries()) {
        const before = lines[shown + at - 1];
        if (group && (before === undefined || group(before) !== group(line))) {
          body.append(h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: columns.length }, group(line).head())));
        }
        body.append(h("tr", {}, columns.map((column) => h(column.head ? "th" : "td",
          { scope: column.head && "row", class: [column.number && "n", column.class].filter(Boolean).join(" ") || null }, column.cell(line)))));
      }
      shown = Math.min(shown + some, lines.length);
      more.hidden = shown === lines.length;
      more.textContent = `Show more (${shown} of ${lines.length})`;
    }
    add(start);
    return h("div", {}, h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
      h("table", { class: narrow && "narrow" }, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), body)), more);
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
  const hidden = (text) => h("span", { style: "position:absolute;clip-path:inset(50%);width:1px;overflow:hidden" }, text);

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

  // ---------------------------------------------------------------------------------------------- leaderboard

  const FILTERS = [
    ["setting", "Setting", settingOf], ["family", "Family", (at) => taskOf(at).family], ["task", "Task", (at) => taskOf(at).name],
    ["backbone", "Backbone", (at) => benchOf(at).backbone], ["protocol", "Protocol", (at) => benchOf(at).protocol],
    ["budget", "Budget", (at) => budgetName(benchOf(at))],
  ];
  function budgetName(bench) {
    const parts = [bench.budget === 1 ? "full" : `${bench.budget} of the steps`];
    if (bench.labels >= 0) parts.push(`${bench.labels} labels a class`);
    if (bench.target_images >= 0) parts.push(`${bench.target_images} target images`);
    return parts.join(", ");
  }
  const inOrder = (a, b) => cells.task[a] - cells.task[b] || cells.bench[a] - cells.bench[b] || cells.setting[a] - cells.setting[b] || cells.mean[b] - cells.mean[a];
  const valuesOf = FILTERS.map(([, , of]) => distinct(every.map(of)).sort());

  function leaderboard({ query }) {
    const asked = (name) => query.get(name) || "";
    const words = asked("q").toLowerCase();
    const lines = every.filter((at) => FILTERS.every(([name, , of]) => !asked(name) || of(at) === asked(name))
      && (!words || variantOf(at).toLowerCase().includes(words)));
    const columns = resultColumns(lines);
    const used = ["method", "accuracy", "bar", "task", "setting", "gain", "closed", "published", "seconds", "ms", "memory", "parameters", "forgetting", "ece", "nll", "n", "bench"];
    const narrowed = ["task", "backbone", "protocol", "budget"].some(asked);
    return [
      h("h1", {}, "Leaderboard"),
      h("p", { class: "soft" }, "Accuracy on the target's test images, mean and 95 % interval over seeds, of the last checkpoint. Methods that see different data stand in different settings and are not ranked against each other."),
      h("form", { "aria-label": "Filters", onsubmit: (event) => event.preventDefault() },
        FILTERS.map(([name, label], at) => choice(label, name, plain(valuesOf[at], "all"), asked(name))),
        h("label", {}, "Method", h("input", { id: "choose-q", type: "search", name: "q", value: query.get("q"), oninput: (event) => change({ q: event.target.value }) })),
        h("button", { type: "button", onclick: () => { location.hash = "#/"; } }, "Clear")),
      narrowed || words ? null : ranks(asked("family"), asked("setting")),
      h("h2", {}, "Every result"),
      h("p", { class: "small soft" }, "Bold: not told apart from the best of its setting on that task (paired test over seeds, Holm, 5 %); methods that share a letter are not told apart. ",
        h("span", { class: "bad" }, "▼"), " significantly below source-only; ", h("span", { class: "bad" }, "∅"), " a class is never recognised. Gain is over the source model, in points."),
      lines.length ? table(count(lines.length, "result"), filled(used, lines).map((name) => columns[name]), lines.sort(inOrder), { first: "task" })
        : h("p", {}, "No result has all of these; clear a filter."),
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

  // ------------------------------------------------------------------------------------------------ task page

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
        details.sprite ? h("figure", {}, h("figcaption", {}, "Source above, target below"), h("img", { class: "sprite", src: details.sprite, alt: `Example pictures of ${facts.source} above and ${facts.target} below` })) : null,
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

  function ticks(low, high, about = 5) {
    const raw = (high - low || 1) / about;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
    const found = [];
    for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(+at.toPrecision(10));
    return found;
  }

  /** A line for each method: its seeds as dots, mean and interval; drawn as wide as the page is. */
  function dots(lines, seeds, { mean = cells.mean, half = cells.ci, unit = "%", label = variantOf, zero = false, group = settingOf } = {}) {
    const width = Math.min(1000, Math.max(320, document.getElementById("main").clientWidth - 40));
    const left = Math.min(230, width * 0.4);
    const right = width - 12;
    const values = lines.flatMap((at) => [mean[at] - (half[at] || 0), mean[at] + (half[at] || 0), ...((seeds && seeds[at]) || [[], []])[1]]);
    let [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    if (zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    const room = Math.max(POINT / 2, (high - low) * 0.04);
    [low, high] = zero ? [low - room, high + room] : [Math.max(0, low - room), Math.min(100 * POINT, high + room)];
    const x = (value) => left + ((value - low) / (high - low)) * (right - left);
    const step = 24;
    const height = lines.length * step + 26;
    const fits = Math.floor((left - 14) / 6.6);
    const short = (text) => (text.length > fits ? text.slice(0, fits - 1) + "…" : text);
    return h("figure", {}, s("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": lines.map((at) => `${label(at)} ${interval(mean[at], half[at])} ${unit}`).join("; ") },
    ticks(low / POINT, high / POINT, width < 500 ? 4 : 8).map((tick) => [
      s("line", { x1: x(tick * POINT), x2: x(tick * POINT), y1: 0, y2: height - 22, class: tick === 0 && zero ? "zero" : "grid" }),
      s("text", { x: x(tick * POINT), y: height - 6, "text-anchor": "middle", class: "soft" }, `${minus(tick)}${unit === "%" ? " %" : ""}`)]),
    lines.map((at, line) => {
      const y = line * step + step / 2;
      const title = `${label(at)}: ${interval(mean[at], half[at])} ${unit}`;
      const [ids, each] = (seeds && seeds[at]) || [[], []];
      return s("g", {},
        s("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, short(label(at)), s("title", {}, label(at))),
        known(half[at]) && s("line", { x1: Math.max(left, x(mean[at] - half[at])), x2: Math.min(right, x(mean[at] + half[at])), y1: y, y2: y, stroke: look(group(at))[0], "stroke-width": 2 }),
        each.map((value, seed) => s("circle", { cx: x(value), cy: y, r: 3, fill: "none", stroke: "var(--text)", "stroke-opacity": .6 }, s("title", {}, `seed ${ids[seed]}: ${percent(value)} %`))),
        mark(group(at), x(mean[at]), y, title));
    })));
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

  // ---------------------------------------------------------------------------------------------- method page

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

  // -------------------------------------------------------------------------------------------------- compare

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

  // ----------------------------------------------------------------------------------------------------- cost

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
      h("form", {}, choice("Task", "task", [["", `all (mean over ${count(data.cost.tasks, "shared task")})`], ...options], asked), choice("Cost", "x", COSTS.map(([id, label]) => [id, label]), shown)),
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

  function scatter(points, xWords, yWords, text) {
    const width = Math.min(1000, Math.max(320, document.getElementById("main").clientWidth));
    const height = Math.max(320, Math.min(480, width * 0.6));
    const [left, right, top, bottom] = [46, width - 16, 14, height - 44];
    // Zero cannot stand on a logarithmic axis, so it has the place left of the cheapest.
    const above = points.map((point) => point.x).filter((x) => x > 0);
    const least = above.length ? Math.min(...above) : 1;
    const most = above.length ? Math.max(...above) : 10;
    const zeros = points.some((point) => point.x <= 0);
    const [low, high] = [Math.log10(least) - (zeros ? .6 : .12), Math.log10(most) + .12];
    const x = (value) => left + ((value > 0 ? Math.log10(value) - low : .08 * (high - low)) / (high - low)) * (right - left);
    const ys = points.map((point) => point.y);
    const room = Math.max(.6 * POINT, (Math.max(...ys) - Math.min(...ys)) * .06);
    const [down, up] = [Math.min(...ys) - room, Math.max(...ys) + room];
    const y = (value) => bottom - ((value - down) / (up - down)) * (bottom - top);
    let best = -Infinity;
    const front = [...points].sort((a, b) => a.x - b.x || b.y - a.y).filter((point) => (point.front = point.y > best) && ((best = point.y), true));
    const path = front.map((point, at) => (at ? `H${x(point.x)}V${y(point.y)}` : `M${x(point.x)} ${y(point.y)}`)).join("");
    const decades = [];
    for (let power = Math.ceil(low); power <= high; power++) decades.push(power);
    const sparse = Math.ceil(decades.length / ((right - left) / 75));
    const marks = decades.length > 1 ? decades.filter((_, at) => at % sparse === 0).map((power) => 10 ** power).filter((tick) => !zeros || x(tick) - x(0) > 45) : [least, most];
    const taken = [];
    const labels = [...points].sort((a, b) => b.front - a.front || b.y - a.y).map((point) => {
      const wide = point.name.length * 6.4 + 6;
      const places = [[10, 4, "start"], [-10, 4, "end"], [0, -10, "middle"], [0, 18, "middle"], [10, 16, "start"], [10, -8, "start"], [-10, 16, "end"], [-10, -8, "end"]];
      if (point.front) places.unshift([-8, -8, "end"], [0, -12, "middle"]); // off the line, which comes from below and goes right
      for (const [dx, dy, anchor] of places) {
        const from = x(point.x) + dx - (anchor === "end" ? wide : anchor === "middle" ? wide / 2 : 0);
        const box = [from, y(point.y) + dy - 10, from + wide, y(point.y) + dy + 3];
        const free = box[0] > left && box[2] < width && box[3] < bottom + 4 && taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3])
          && points.every((other) => other === point || x(other.x) < box[0] - 4 || x(other.x) > box[2] + 4 || y(other.y) < box[1] - 4 || y(other.y) > box[3] + 4);
        if (free) {
          taken.push(box);
          return s("text", { x: x(point.x) + dx, y: y(point.y) + dy, "text-anchor": anchor, class: "halo" }, point.name);
        }
      }
      return null; // no room: its mark says its name, and the table below too
    });
    return h("figure", {}, s("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `On the Pareto front: ${front.map((point) => `${point.name} (${text(point.x)})`).join(", ")}` },
    ticks(down / POINT, up / POINT).map((tick) => [s("line", { x1: left, x2: right, y1: y(tick * POINT), y2: y(tick * POINT), class: "grid" }), s("text", { x: left - 6, y: y(tick * POINT) + 4, "text-anchor": "end", class: "soft" }, minus(tick))]),
    marks.map((tick) => [s("line", { x1: x(tick), x2: x(tick), y1: top, y2: bottom, class: "grid" }), s("text", { x: x(tick), y: bottom + 16, "text-anchor": "middle", class: "soft" }, text(tick).replace(".0 ", " "))]),
    zeros && s("text", { x: x(0), y: bottom + 16, "text-anchor": "middle", class: "soft" }, "0"),
    s("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle", class: "soft" }, `${xWords} (logarithmic)`),
    s("text", { x: 4, y: 8, class: "soft" }, yWords),
    s("path", { d: path, fill: "none", stroke: "var(--soft)", "stroke-width": 1.5, "stroke-dasharray": "5 3" }),
    points.map((point) => mark(point.setting, x(point.x), y(point.y), `${point.name}: ${percent(point.y)}, ${text(point.x)}`, 1.15)), labels));
  }

  // ------------------------------------------------------------------------------------------------- adapters

  function adapters() {
    const part = (folder) => data.figures.filter(([name]) => name.startsWith(folder));
    const source = (name) => `figures/${name.split("/").map(encodeURIComponent).join("/")}`;
    const title = (name) => name.split("/").pop().replace(/\.\w+$/, "").replaceAll("_", " ");
    const picture = ([name, caption]) => {
      const [, task, words] = caption.match(/^([^:]+): (.*)$/) || [null, "", caption];
      const by = title(name).split("-")[0];
      const head = byTask.has(task) ? [taskLink(task), byMethod.has(by) && [", ", methodLink(by)]] : title(name);
      const image = h("img", { src: source(name), alt: caption || title(name), loading: "lazy" });
      if (!words) return h("figure", {}, h("figcaption", {}, head), image);
      return h("figure", {}, h("figcaption", {}, head),
        h("div", { class: "grid" }, h("ul", { "aria-hidden": "true" }, ["original", "camera", "adapted"].map((line) => h("li", {}, line))), image),
        h("p", { class: "small soft" }, `${words[0].toUpperCase()}${words.slice(1)}.`));
    };
    const curve = ([name]) => h("figure", {}, h("figcaption", {}, title(name)),
      h("div", { class: "curve", tabindex: "0", role: "region", "aria-label": title(name) }, h("img", { src: source(name), alt: title(name), loading: "lazy" })));
    const none = (what, command) => h("p", { class: "soft" }, `No ${what} yet; `, h("code", {}, command), " makes them.");
    const [made, curves] = [part("reproductions/"), part("curves/")];
    return [h("h1", {}, "Adapters"),
      h("p", { class: "soft" }, "Methods that repair the pictures before the classifier sees them: the original, what the camera makes of it, and what the adapter gives back."),
      made.length ? h("div", { class: "plots pictures" }, made.map(picture)) : none("pictures", "dabench reproduce adapternet"),
      h("h2", {}, "Curves"),
      curves.length ? h("div", { class: "plots curves" }, curves.map(curve)) : none("curves", "dabench curve imagenet-rotated")];
  }

  // ---------------------------------------------------------------------------------------------------- pages

  const PAGES = { "": leaderboard, tasks, task, methods, method, compare, cost, adapters };
  const NAVIGATION = [["", "Leaderboard"], ["tasks", "Tasks", "task"], ["methods", "Methods", "method"], ["compare", "Compare"], ["cost", "Cost"], ["adapters", "Adapters"]];
  const missing = (kind, name) => [h("h1", {}, "Not here"), h("p", {}, `There is no ${kind} '${name}' in these results. `, h("a", { href: "#/" }, "To the leaderboard"))];

  function show(arrived = true) {
    const state = address();
    const main = document.getElementById("main");
    const page = PAGES[state.page];
    main.replaceChildren(...(page ? page(state) : missing("page", state.page)).flat(Infinity).filter(Boolean));
    document.querySelector("nav").replaceChildren(...NAVIGATION.map(([id, label, under]) =>
      h("a", { href: link(id), "aria-current": id === state.page || under === state.page ? "page" : null }, label)));
    document.title = `${state.name || main.querySelector("h1").textContent} · dabench`;
    const current = document.querySelector("nav [aria-current]");
    if (current) current.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    if (arrived) {
      scrollTo({ top: 0, behavior: "instant" });
      main.focus({ preventScroll: true });
    }
  }

  document.querySelector("footer").textContent = `${number(data.rows)} rows, the newest of ${data.newest.slice(0, 10)}. ${data.doubts.map((words) => `${words}.`).join(" ")}`;
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); document.getElementById("main").focus(); });
  addEventListener("hashchange", () => show());
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; show(false); } });
  show(false);
})();
