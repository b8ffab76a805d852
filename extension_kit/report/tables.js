// Tables. Every text of the record is put on the page as text, never as markup.

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

function swatch(kind) {
  return element("i", { class: `swatch k-${kind}`, "aria-hidden": "true" });
}

// A table whose rows can be sorted and of which a part is shown. columns: {title, value(row), cell(row), number, wide}.
class Table {
  constructor(table, more, columns, { page = 100, open = null, sorted = null } = {}) {
    Object.assign(this, { table, more, columns, page, open, sorted, size: page, descending: false, rows: [] });
    this.head = element("thead");
    this.body = element("tbody");
    table.append(this.head, this.body);
    if (more) more.addEventListener("click", () => {
      this.size += this.page * 5;
      this.draw();
    });
  }

  show(rows) {
    this.rows = rows;
    this.size = this.page;
    this.draw();
  }

  draw() {
    const { columns, sorted } = this;
    this.head.replaceChildren(element("tr", {}, ...columns.map((column) => this.title(column))));
    let rows = this.rows;
    if (sorted) {
      const sign = this.descending ? -1 : 1;
      rows = [...rows].sort((a, b) => sign * compare(sorted.value(a), sorted.value(b)));
    }
    this.body.replaceChildren(...rows.slice(0, this.size).map((row) => this.row(row)));
    if (!this.more) return;
    const left = rows.length - this.size;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show ${Math.min(left, this.page * 5)} more of ${left}`;
  }

  title(column) {
    const cell = element("th", { scope: "col", class: column.number ? "number" : "" });
    if (!column.value) {
      cell.append(column.title);
      return cell;
    }
    const button = element("button", { type: "button", title: column.help || `Sort by ${column.title}` }, column.title);
    button.addEventListener("click", () => {
      this.descending = this.sorted === column ? !this.descending : Boolean(column.number);
      this.sorted = column;
      this.draw();
      this.head.rows[0].cells[this.columns.indexOf(column)].querySelector("button").focus();
    });
    const order = this.sorted !== column ? "none" : this.descending ? "descending" : "ascending";
    cell.setAttribute("aria-sort", order);
    cell.append(button);
    return cell;
  }

  row(row) {
    const cells = this.columns.map((column) => {
      const cell = element("td", { class: `${column.number ? "number" : ""} ${column.class || ""}`.trim() });
      const content = column.cell(row);
      cell.append(content);
      if (column.class === "text") cell.title = content;
      return cell;
    });
    const made = element("tr", {}, ...cells);
    if (this.open) {
      made.classList.add("jump");
      made.addEventListener("click", () => this.open(row));
    }
    return made;
  }
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}

function number(value, digits = 0) {
  return value === null || value === undefined ? "\u2013" : value.toFixed(digits);
}

// What a row is opened by where there is no pointer.
function link(text, help, act) {
  const button = element("button", { type: "button", class: "link", title: help }, text);
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    act();
  });
  return button;
}

function phases(one, longest) {
  const bar = element("div", { class: "phases", role: "img",
    "aria-label": `before ${ms(one.before)}, response ${ms(one.response)}, after ${ms(one.after)}` });
  for (const [kind, time] of [["init", one.before], ["function", one.response ?? (one.end === null ? 0 : one.end - one.start)], ["after", one.after]]) {
    if (!time) continue;
    const part = element("i", { class: `k-${kind}`, title: `${kind === "after" ? "after the response" : kind} ${ms(time)}` });
    part.style.width = `${time / longest * 100}%`;
    bar.append(part);
  }
  return bar;
}

function invocationColumns(invocations, jump) {
  const longest = Math.max(0.001, ...invocations.map((one) => (one.end ?? one.start) - one.start));
  const columns = [
    { title: "#", value: (one) => one.number, cell: (one) => link(`#${one.number}`, "show on the timeline", () => jump(one)) },
    { title: "Request id", cell: (one) => element("span", { class: "mono" }, one.id) },
    { title: "At", number: true, value: (one) => one.start, cell: (one) => ms(one.start) },
    { title: "Init, restore", number: true, value: (one) => one.before, cell: (one) => (one.before >= 0.5 ? ms(one.before) : "\u2013"), help: "An init or a restore inside the invocation" },
    { title: "Response", number: true, value: (one) => one.response, cell: (one) => ms(one.response), help: "From the event to the function's response" },
    { title: "After it", number: true, value: (one) => one.after, cell: (one) => ms(one.after), help: "From the response until everybody was done: billed, and not seen by the caller" },
    { title: "Extensions", number: true, value: (one) => one.overhead, cell: (one) => ms(one.overhead), help: "Of that, what was left when the runtime had asked for work again: the extensions' overhead" },
    { title: "Billed", number: true, value: (one) => one.billed, cell: (one) => (one.billed === null ? "\u2013" : `${one.billed} ms`) },
    { title: "Memory", number: true, value: (one) => one.memory, cell: (one) => (one.memory === null ? "\u2013" : `${one.memory} MB`) },
    { title: "Status", value: (one) => (one.error ? `~${one.error}` : one.status), cell: status },
    { title: "", class: "wide", cell: (one) => phases(one, longest) },
  ];
  const told = (key) => invocations.some((one) => one[key] !== null);
  return columns.filter(({ title }) => (title !== "Billed" || told("billed")) && (title !== "Memory" || told("memory"))
    && (title !== "Init, restore" || invocations.some((one) => one.before >= 0.5)));
}

function status(one) {
  const bad = one.outcome === "not well";
  return element("span", { class: bad ? "bad-text" : "" }, bad ? `\u2715 ${[one.status === "success" ? "" : one.status, one.error].filter(Boolean).join(": ")}` : one.status);
}

const COSTS = [
  { title: "Process", value: (one) => one.party, cell: (one) => one.party },
  { title: "Started", number: true, value: (one) => one.starts, cell: (one) => `${one.starts || "\u2013"}` },
  { title: "To register", number: true, value: (one) => one.register, cell: (one) => ms(one.register), help: "From its start to its registration; the runtime starts when the last has registered" },
  { title: "To ready", number: true, value: (one) => one.ready, cell: (one) => ms(one.ready), help: "From its start to its first next" },
  { title: "After the response", number: true, value: (one) => one.after, cell: (one) => ms(one.after), help: "Median over the invocations" },
  { title: "in all", number: true, value: (one) => one.afterTotal, cell: (one) => ms(one.afterTotal) },
  { title: "CPU", number: true, value: (one) => one.cpu, cell: (one) => ms(one.cpu) },
  { title: "Peak memory", number: true, value: (one) => one.peak, cell: (one) => (one.peak === null ? "\u2013" : `${number(one.peak, 1)} MB`) },
  { title: "Telemetry", number: true, value: (one) => one.telemetry, cell: (one) => (one.batches ? `${one.telemetry} in ${one.batches}` : "\u2013"), help: "Events that it was delivered, in how many batches" },
  { title: "Log lines", number: true, value: (one) => one.lines, cell: (one) => `${one.lines || "\u2013"}` },
];

function measuredColumns(rows) {
  const several = new Set(rows.map((row) => row.party)).size > 1;
  return [
    { title: "Figure", value: (row) => row.name, cell: (row) => element("span", { class: "mono" }, several ? `${row.party} ${row.name}` : row.name) },
    { title: "Over the invocations", cell: (row) => sparkline(row.values) },
    { title: "n", number: true, value: (row) => row.count, cell: (row) => `${row.count}` },
    { title: "Min", number: true, cell: (row) => row.low },
    { title: "Max", number: true, cell: (row) => row.high },
    { title: "Last", number: true, cell: (row) => (row.last === "-" ? "\u2013" : row.last) },
    { title: "Unit", cell: (row) => row.unit, class: "unit" },
  ];
}

function sparkline(values) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "spark");
  picture.setAttribute("viewBox", "0 0 170 22");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${values.length} value${values.length === 1 ? "" : "s"}`);
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const place = (value, at) => [values.length > 1 ? 3 + at / (values.length - 1) * 164 : 85, 19 - (value - low) / span * 16];
  const points = values.map(place);
  if (points.length > 1) {
    const line = document.createElementNS(space, "path");
    line.setAttribute("d", `M${points.map((point) => point.map((one) => one.toFixed(1)).join(" ")).join("L")}`);
    picture.append(line);
  }
  const dot = document.createElementNS(space, "circle");
  const [x, y] = points.at(-1);
  for (const [name, value] of [["cx", x], ["cy", y], ["r", 2.2]]) dot.setAttribute(name, value);
  picture.append(dot);
  return picture;
}
