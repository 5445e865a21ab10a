"use strict";
/* Pictures before and after a camera and its adapter, and curves. */

function pictures() {
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
  return [h("h1", {}, "Pictures"),
    h("p", { class: "soft" }, "Methods that repair the pictures before the classifier sees them: the original, what the camera makes of it, and what the adapter gives back."),
    made.length ? h("div", { class: "plots pictures" }, made.map(picture)) : none("pictures", "dabench run --tasks quick --methods adapternet"),
    h("h2", {}, "Curves"),
    curves.length ? h("div", { class: "plots curves" }, curves.map(curve)) : none("curves", "dabench curve imagenet-rotated")];
}

// ---------------------------------------------------------------------------------------------------- papers

/** The founding papers' pages, whose HTML the report made of Markdown without tags. */
function papers({ name }) {
  if (!data.papers.length) return [h("h1", {}, "Papers"), h("p", {}, "No paper's experiments have been run yet; ", h("code", {}, "dabench reproduce nogrl"), " runs one's.")];
  const shown = data.papers.find(([id]) => id === name) || data.papers[0];
  if (name && shown[0] !== name) return missing("paper", name);
  return [h("h1", {}, shown[1]),
    h("nav", { class: "tabs", "aria-label": "Papers" }, data.papers.map(([id]) => h("a", { href: link("papers", id), "aria-current": id === shown[0] ? "page" : null }, id))),
    later("papers.js", () => DABENCH.papers, (all) => {
      const page = h("article", {});
      page.innerHTML = all.find((each) => each.name === shown[0]).html;
      for (const blank of page.querySelectorAll("th:empty")) blank.replaceWith(h("td", {}));
      for (const head of page.querySelectorAll("th")) head.setAttribute("scope", "col");
      for (const [at, found] of [...page.querySelectorAll("table")].entries()) {
        const wide = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `Table ${at + 1}` });
        found.replaceWith(wide);
        wide.append(found);
      }
      return page;
    })];
}
