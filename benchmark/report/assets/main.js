"use strict";
/* Which page stands at which address. */

const PAGES = { "": start, results, tasks, task, methods, method, compare, cost, pictures, papers };
const NAVIGATION = [["", "Which method"], ["results", "Results"], ["tasks", "Tasks", "task"], ["methods", "Methods", "method"], ["compare", "Compare"], ["cost", "Cost"], ["pictures", "Pictures"], ["papers", "Papers"]];
const missing = (kind, name) => [h("h1", {}, "Not here"), h("p", {}, `There is no ${kind} '${name}' in these results. `, h("a", { href: "#/" }, "To the first page"))];

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
let place = address();
/** Back to another view of the same page stays where it is. */
addEventListener("hashchange", () => {
  const before = place;
  place = address();
  show(before.page !== place.page || before.name !== place.name);
});
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; show(false); } });
show(false);
