"use strict";
// Only `dabench serve` adds this: the page reloads, where it was, when there are new results, and says what runs.
(() => {
  const place = "dabench scroll";
  addEventListener("load", () => {
    const [hash, top] = JSON.parse(sessionStorage.getItem(place) || "[]");
    sessionStorage.removeItem(place);
    if (hash === location.hash) requestAnimationFrame(() => scrollTo(0, top));
  });
  let seen = null;
  const running = document.createElement("pre");
  running.setAttribute("role", "status");
  running.style.cssText = "position:sticky;bottom:0;margin:0;padding:.4rem 1rem;white-space:pre-wrap;" +
    "background:Canvas;color:CanvasText;border-top:1px solid;font:.85rem/1.4 system-ui";
  const say = async () => {
    const answer = await fetch("progress").catch(() => null);
    running.textContent = answer && answer.ok ? await answer.text() : "";
    if (!running.textContent) running.remove();
    else if (!running.isConnected) document.body.append(running);
  };
  const ask = async () => {
    if (document.hidden) return;
    say();
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
