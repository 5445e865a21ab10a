"use strict";
/* Dots with intervals, and gain against cost. */

function ticks(low, high, about = 5) {
  const raw = (high - low || 1) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) found.push(+at.toPrecision(10));
  return found;
}

/** A line for each method: its seeds as dots, mean and interval; drawn as wide as the page is. */
function dots(lines, seeds, { mean = cells.mean, half = cells.ci, unit = "%", label = variantOf, zero = false, group = settingOf, note = null } = {}) {
  const width = Math.min(1000, Math.max(320, document.getElementById("main").clientWidth - 40));
  const left = Math.min(230, width * 0.4);
  const right = width - (note ? 58 : 12);
  const ends = (at) => (known(half[at]) ? [mean[at] - half[at], mean[at] + half[at]] : [null, null]);
  const words = (at) => interval(mean[at], half[at]);
  const values = lines.flatMap((at) => [...ends(at).map((end) => end ?? mean[at]), ...((seeds && seeds[at]) || [[], []])[1]]);
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
    "aria-label": lines.map((at) => `${label(at)} ${words(at)} ${unit}`).join("; ") },
  ticks(low / POINT, high / POINT, width < 500 ? 4 : 8).map((tick) => [
    s("line", { x1: x(tick * POINT), x2: x(tick * POINT), y1: 0, y2: height - 22, class: tick === 0 && zero ? "zero" : "grid" }),
    s("text", { x: x(tick * POINT), y: height - 6, "text-anchor": "middle", class: "soft" }, `${minus(tick)}${unit === "%" ? " %" : ""}`)]),
  lines.map((at, line) => {
    const y = line * step + step / 2;
    const title = `${label(at)}: ${words(at)} ${unit}`;
    const [from, to] = ends(at);
    const [ids, each] = (seeds && seeds[at]) || [[], []];
    return s("g", {},
      s("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, short(label(at)), s("title", {}, label(at))),
      known(from) && s("line", { x1: Math.max(left, x(from)), x2: Math.min(right, x(to)), y1: y, y2: y, stroke: look(group(at))[0], "stroke-width": 2 }),
      each.map((value, seed) => s("circle", { cx: x(value), cy: y, r: 3, fill: "none", stroke: "var(--text)", "stroke-opacity": .6 }, s("title", {}, `seed ${ids[seed]}: ${percent(value)} %`))),
      mark(group(at), x(mean[at]), y, title),
      note && s("text", { x: width - 4, y: y + 4, "text-anchor": "end", class: "soft" }, note(at)));
  })));
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
