"use strict";
// Only `dabench serve` adds this: the page reloads, where it was, when there are new results.
(() => {
  const place = "dabench scroll";
  addEventListener("load", () => {
    const [hash, top] = JSON.parse(sessionStorage.getItem(place) || "[]");
    sessionStorage.removeItem(place);
    if (hash === location.hash) requestAnimationFrame(() => scrollTo(0, top));
  });
  let seen = null;
  const ask = async () => {
    if (document.hidden) return;
    const answer = await fetch("version").catch(() => null);
    if (!answer || !answer.ok) return;
    const version = await answer.text();
    const typing = document.activeElement && /^(INPUT|SELECT)$/.test(document.activeElement.tagName);
    if (seen !== null && version !== seen && !typing) {
      sessionStorage.setItem(place, JSON.stringify([location.hash, scrollY]));
      location.reload();
    }
    seen ??= version;
  };
  ask();
  setInterval(ask, 3000);
})();
