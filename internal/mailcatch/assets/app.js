// Keeps the list current: once a second, and only while somebody looks, it asks
// whether anything has changed, and takes the server's rendering if so.
"use strict";
(() => {
  const list = document.getElementById("list");
  if (!list) return;
  const clear = document.getElementById("clear");

  const refresh = async () => {
    const page = await fetch("/dev/mail");
    if (!page.ok) return;
    const next = new DOMParser().parseFromString(await page.text(), "text/html");
    list.replaceChildren(...next.getElementById("list").childNodes);
    clear.hidden = next.getElementById("clear").hidden;
    document.body.dataset.state = next.body.dataset.state;
  };

  const look = async () => {
    if (document.visibilityState === "visible") {
      try {
        const known = `"${document.body.dataset.state}"`;
        const answer = await fetch("/dev/mail/messages", { headers: { "If-None-Match": known } });
        if (answer.ok) await refresh();
      } catch {
        // The server is away; it may come back.
      }
    }
    setTimeout(look, 1000);
  };

  clear.addEventListener("click", async () => {
    await fetch("/dev/mail/messages", { method: "DELETE" });
    await refresh();
  });

  setTimeout(look, 1000);
})();
