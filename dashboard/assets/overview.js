// The overview's charts, and its queues' counts, as the namespace /dashboard tells
// them every second. Without a connection the page is what app.js makes of it.
import { Chart } from "/admin/assets/charts.js";
import { follow } from "/admin/assets/socket.js";

const seconds = 300; // shown
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const calmEvery = 5; // seconds between two drawings for who wants less motion

const whole = (n) => n < 10 && n % 1 ? n.toFixed(1) : n < 10_000 ? String(Math.round(n)) : `${Math.round(n / 1000)} k`;
const time = (ms) => ms < 1000 ? `${Math.round(ms)} ms` : ms < 60_000 ? `${whole(ms / 1000)} s` : ms < 3_600_000 ? `${whole(ms / 60_000)} min` : `${whole(ms / 3_600_000)} h`;
const of = (part, names) => (s) => names.map(([name, key]) => ({ name, value: s[part]?.[key] ?? null }));
const queues = (value) => (s) => (s.queues ?? known).map((q) => ({ name: q.name, value: s.queues ? value(q) : null }));
let known = []; // queues, as they were last told

const charts = [
  { title: "Jobs a second", part: "rates", unit: whole, lines: of("rates", [["accepted", "accepted"], ["done", "done"], ["to be retried", "retried"], ["failed", "failed"]]) },
  { title: "Waiting tasks", part: "queues", unit: whole, lines: queues((q) => q.pending) },
  { title: "Oldest waiting task", part: "queues", unit: time, lines: queues((q) => q.oldest_ms) },
  { title: "Waited, and ran", part: "rates", unit: time, lines: of("latency", [["wait p50", "wait_p50"], ["wait p99", "wait_p99"], ["run p50", "run_p50"], ["run p99", "run_p99"]]) },
  { title: "Slots of workers", part: "workers", unit: whole, lines: of("workers", [["running", "running"], ["slots", "slots"]]) },
  { title: "Live connections", part: "connections", unit: whole, lines: of("connections", [["connections", "sockets"], ["users", "users"]]) },
].map((c) => new Chart(c, seconds));

const section = document.querySelector(".charts");
const status = document.createElement("p");
status.setAttribute("role", "status");
status.className = "gap";
status.hidden = true;
section.append(status, ...charts.map((c) => c.figure));

let samples = [];

function show(anew) {
  const newest = samples.at(-1);
  if (newest?.queues) known = newest.queues;
  section.hidden = !newest;
  for (const c of charts) c.tell(newest);
  if (anew || !calm.matches || (newest.at / 1000) % calmEvery === 0) for (const c of charts) c.draw(samples);
  count(newest?.queues ?? []);
}

// count writes the counts into the table of queues.
function count(queues) {
  for (const q of queues) {
    const row = document.querySelector(`[data-queue="${CSS.escape(q.name)}"]`);
    for (const cell of row?.querySelectorAll("[data-n]") ?? []) {
      const key = cell.dataset.n;
      cell.textContent = key !== "oldest_ms" ? q[key] : q.pending ? time(q.oldest_ms) : "–";
    }
  }
}

// happened tells whether a sample may make the rest of the page out of date.
function happened(s, before) {
  const still = (x) => JSON.stringify([x?.workers, x?.problems, x?.queues?.map((q) => q.paused)]);
  return !s.rates || Object.values(s.rates).some((n) => n > 0) || still(s) !== still(before);
}

// app.js looks again only if something happened, while this is set.
const page = document.documentElement.dataset;

follow("/admin/socket.io/", "/dashboard", {
  history(all) {
    samples = all.slice(-seconds);
    page.live = "changed";
    show(true);
  },
  numbers(sample) {
    const before = samples.at(-1);
    samples = [...samples.filter((s) => s.at > sample.at - seconds * 1000), sample];
    if (happened(sample, before)) page.live = "changed";
    show(false);
  },
  connect() {
    status.hidden = true;
    section.classList.remove("old");
  },
  disconnect() {
    delete page.live;
    section.classList.add("old");
    const last = samples.at(-1);
    status.textContent = last ? `The connection is lost; these numbers are of ${new Date(last.at).toISOString().slice(11, 19)}.` : "";
    status.hidden = !last;
  },
  refused({ data }) {
    if (data?.code === "unauthorized") leave();
  },
  auth_expired: leave,
});

// leave goes to the login, if that is where the page leads by now.
async function leave() {
  try {
    if ((await fetch(location.href)).redirected) location.reload();
  } catch {
    // The server is away: connecting is tried again.
  }
}
