// Keeps what is marked data-live current: the page is fetched again every few
// seconds while somebody looks at it, or, where a connection tells what happens
// (overview.js), only after something has. Without scripts it is a page as any.
(() => {
  const every = 5000;
  async function refresh() {
    const here = document.querySelector("[data-live]");
    if (!here) return;
    const told = document.documentElement.dataset;
    if (told.live !== "quiet" && !document.hidden && !here.contains(document.activeElement)) {
      if (told.live) told.live = "quiet";
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        const there = answer.ok && !answer.redirected &&
          new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main [data-live], main > div");
        if (there && here.isConnected) here.replaceWith(there);
        else if (answer.redirected) location.reload(); // the session is over
      } catch {
        // The server is away: what is shown stays, the next turn tries again.
      }
    }
    setTimeout(refresh, every);
  }
  setTimeout(refresh, every);
})();

// Carries a form marked data-continue on by itself, step by step, over an answer
// that does not come: a step that is repeated does nothing twice. Without scripts
// its button does.
(() => {
  let stop = false;
  document.addEventListener("click", (e) => {
    if (!e.target.closest("form[data-continue] button[name=stop]")) return;
    e.preventDefault();
    stop = true; // with the next step, so that what this one does is told
  });
  async function step() {
    const form = document.querySelector("form[data-continue]");
    if (!form) return;
    const body = new URLSearchParams(new FormData(form));
    if (stop) body.set("stop", "1");
    try {
      const answer = await fetch(form.action, { method: "POST", body });
      const main = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (answer.redirected) return location.reload(); // the session is over
      if (main) document.querySelector("main").replaceWith(main); // none where a proxy answers
      if (answer.ok) return step();
    } catch {
      // The server is away: the same step is tried again.
    }
    setTimeout(step, 2000);
  }
  step();
})();

// A preview's HTML is shown at once.
document.querySelector("form[data-show]")?.submit();

// On a phone the navigation scrolls: where one is, is to be seen.
document.querySelector(".bar [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
