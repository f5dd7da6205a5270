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
