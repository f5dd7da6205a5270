// Draws lines that move: one chart for each description, over the last minutes.

const svg = "http://www.w3.org/2000/svg";
const width = 300, height = 90; // of the drawing, whatever it is shown at

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function drawing(name, attributes) {
  const e = document.createElementNS(svg, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}

// Chart shows `lines`, a function that lists them for a sample as {name, value},
// value being null where it is not known. `unit` makes a value readable, `without`
// says why there is none.
export class Chart {
  constructor({ title, lines, unit, part }, seconds) {
    Object.assign(this, { title, lines, unit, part, seconds });
    this.legend = element("ul");
    this.top = element("span", { class: "top" });
    this.problem = element("p", { class: "gap", hidden: "" });
    this.plot = drawing("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0.5, height / 2, height - 0.5]) this.plot.append(drawing("line", { class: "grid", x1: 0, x2: width, y1: y, y2: y }));
    this.paths = [];
    this.items = [];
    this.figure = element("figure", { class: "chart" },
      element("figcaption", {}, title), element("div", { class: "plot" }, this.plot, this.top, this.problem), this.legend);
  }

  // tell says the newest sample's values.
  tell(sample) {
    const lines = sample ? this.lines(sample) : [];
    const texts = lines.map(({ name, value }) => `${name} ${value == null ? "–" : this.unit(value)}`);
    while (this.items.length < lines.length) {
      const i = this.items.length;
      const item = { name: element("span"), value: element("b") };
      this.legend.append(element("li", { class: `line-${i % 6}` }, item.name, " ", item.value));
      this.items.push(item);
    }
    this.items.forEach((item, i) => {
      item.name.textContent = lines[i]?.name ?? "";
      item.value.textContent = lines[i]?.value == null ? "–" : this.unit(lines[i].value);
    });
    const problem = sample?.problems?.[this.part];
    this.problem.textContent = problem ?? "";
    this.problem.hidden = !problem;
    this.plot.setAttribute("aria-label", `${this.title}: ${problem ?? (texts.join(", ") || "nothing yet")}`);
  }

  // draw draws all samples, the newest at the right.
  draw(samples) {
    const newest = samples.at(-1);
    if (!newest) return;
    const rows = samples.map((s) => [s.at, this.lines(s)]);
    let most = 0;
    for (const [, lines] of rows) for (const { value } of lines) most = Math.max(most, value ?? 0);
    const top = nice(most);
    this.top.textContent = this.unit(top);
    const count = Math.max(...rows.map(([, lines]) => lines.length));
    while (this.paths.length < count) {
      const path = drawing("path", { class: `line-${this.paths.length % 6}` });
      this.plot.append(path);
      this.paths.push(path);
    }
    this.paths.forEach((path, i) => {
      let d = "", pen = "M";
      for (const [at, lines] of rows) {
        const value = lines[i]?.value;
        if (value == null) {
          pen = "M";
          continue;
        }
        const x = width - ((newest.at - at) / 1000 / (this.seconds - 1)) * width;
        d += `${pen}${x.toFixed(1)} ${(height - 1 - (value / top) * (height - 2)).toFixed(1)}`;
        if (pen === "M") d += "h.01"; // so that a lone point is seen
        pen = "L";
      }
      path.setAttribute("d", d);
    });
  }
}

// nice is the next of 1, 2, 5, 10, 20 … that is not below.
function nice(most) {
  if (most <= 1) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((n) => n * ten >= most) * ten;
}
