// Keeps the parts of a page that are marked data-live up to date: asks for the page again, and puts
// in what changed. Without it a page is complete, and stands still.
"use strict";
(() => {
  const parts = document.querySelectorAll("[data-live]");
  if (!parts.length) return;
  const SECONDS = 2, SLOWEST = 60;
  let wait = SECONDS;

  function put(old, fresh) {
    if (old.innerHTML === fresh.innerHTML) return;
    const within = old.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...old.querySelectorAll("details")].map((each) => each.open);
    old.innerHTML = fresh.innerHTML;
    old.querySelectorAll("details").forEach((each, index) => { each.open = !!open[index]; });
    if (within) document.getElementById(within)?.focus();
  }

  async function look() {
    if (document.visibilityState === "visible") {
      try {
        const answer = await fetch(location.href, { headers: { "x-live": "1" }, redirect: "manual" });
        if (answer.type === "opaqueredirect") { location.reload(); return; }
        if (!answer.ok) throw new Error(String(answer.status));
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const old of document.querySelectorAll("[data-live]")) {
          const fresh = page.getElementById(old.id);
          if (fresh) put(old, fresh);
        }
        wait = SECONDS;
      } catch {
        wait = Math.min(wait * 2, SLOWEST);
      }
    }
    setTimeout(look, wait * 1000);
  }
  setTimeout(look, wait * 1000);
})();
