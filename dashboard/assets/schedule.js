// Shows a schedule's next slots while its times are typed. Without scripts the
// button Preview does the same.
(() => {
  const form = document.querySelector("form[data-preview]");
  const shown = document.getElementById("next");
  const zones = document.getElementById("zones");
  for (const zone of Intl.supportedValuesOf("timeZone")) zones.append(new Option(zone));
  form.elements.preview.hidden = true;
  let waiting;
  let asked = 0; // an answer that comes after a later one's is of no use

  async function look() {
    const mine = ++asked;
    const times = new URLSearchParams();
    for (const name of ["cron", "time_zone", "created"]) times.set(name, form.elements[name].value);
    try {
      const answer = await fetch(form.dataset.preview + "?" + times);
      if (!answer.ok || answer.redirected) return; // the session is over: what was typed stays
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("next");
      if (next && mine === asked) shown.replaceChildren(...next.childNodes);
    } catch {
      // The server is away: what is shown stays; saving says what is wrong.
    }
  }
  form.addEventListener("input", event => {
    if (event.target.name !== "cron" && event.target.name !== "time_zone") return;
    clearTimeout(waiting);
    waiting = setTimeout(look, 250);
  });
})();
