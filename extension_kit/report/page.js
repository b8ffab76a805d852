// The page: fills it from the data, and lets its parts know of each other.

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// theme: what the system says, until somebody has chosen

const dark = matchMedia("(prefers-color-scheme: dark)");
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme-name").textContent = name === "dark" ? "Light" : "Dark";
  chart?.theme();
  drawLegend();
}
function remembered(chosen) {
  try {
    if (chosen) localStorage.setItem("extension-kit-report-theme", chosen);
    return localStorage.getItem("extension-kit-report-theme");
  } catch {
    return null; // a browser that keeps nothing for a file
  }
}

// what a thing is, in words

function describe(ids, most) {
  const made = ids.slice(0, most).map((id, place) => {
    const thing = chart.thing(id);
    const span = chart.isSpan(id);
    const kind = (span ? data.spanKinds : data.markKinds)[thing[KIND]];
    const when = span ? `${ms(thing[END] - thing[START])}, from ${moment(thing[START], 0.1)} to ${moment(thing[END], 0.1)}` : `at ${moment(thing[START], 0.1)}`;
    const number = thing[span ? INVOCATION : 4];
    const title = thing[span ? LABEL : 3];
    const head = element("p", {}, element("b", {}, title.length > 300 ? `${title.slice(0, 300)} ...` : title));
    const what = [data.lanes[thing[LANE]][0], kind === title ? "" : kind, when, number ? `invocation #${number}` : ""];
    const more = span ? Object.entries(thing[DETAILS]).map(([name, value]) => `${name} ${value}`) : [];
    const quiet = element("p", { class: "quiet" }, [...what, ...more].filter(Boolean).join(" \u00b7 "));
    return place || ids.length > 1 ? [head, quiet] : [head, quiet, ...phaseLines(thing, span)];
  });
  const left = ids.length - most;
  return [...made.flat(), ...(left > 0 ? [element("p", { class: "quiet" }, `... and ${left} more`)] : [])];
}

function phaseLines(thing, span) {
  const one = span && thing[KIND] === "invoke" ? data.invocations[thing[INVOCATION] - 1] : null;
  if (!one) return [];
  const told = [["init, restore", one.before >= 0.5 ? one.before : null], ["response after", one.response], ["then, until all were done", one.after], ["of that, extensions alone", one.overhead]];
  const words = told.filter(([, value]) => value !== null).map(([name, value]) => `${name} ${ms(value)}`);
  return [element("p", {}, [...words, one.status, one.error].filter(Boolean).join(" \u00b7 "))];
}

function showDetails(id) {
  if (id < 0) {
    $("details").replaceChildren(element("p", { class: "quiet" }, "Point at something, or choose it, to read what it was. Wider bars took longer; orange is work after the response, which is billed and which no caller sees."));
    return;
  }
  const whole = chart.thing(id)[chart.isSpan(id) ? LABEL : 3];
  const parts = describe([id], 1);
  if (whole.length > 300) parts.push(element("p", { class: "text" }, whole));
  $("details").replaceChildren(...parts);
}

// search: every word must occur

let haystacks = null;
let matches = [];
function search(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const size = data.spans.length;
  if (!words.length) {
    chart.matches = null;
    matches = [];
  } else {
    haystacks ??= [...data.spans, ...data.marks].map((thing, id) => {
      const span = id < size;
      const one = data.invocations[thing[span ? INVOCATION : 4] - 1];
      const kind = (span ? data.spanKinds : data.markKinds)[thing[KIND]];
      return [thing[span ? LABEL : 3], data.lanes[thing[LANE]][0], kind, one ? `#${one.number} ${one.id} ${one.error}` : "",
        span ? Object.values(thing[DETAILS]).join(" ") : ""].join(" ").toLowerCase();
    });
    chart.matches = new Uint8Array(haystacks.length);
    matches = [];
    haystacks.forEach((haystack, id) => {
      if (!words.every((word) => haystack.includes(word))) return;
      chart.matches[id] = 1;
      matches.push(id);
    });
    matches.sort((a, b) => chart.begin(a) - chart.begin(b) || a - b);
  }
  $("found").textContent = words.length ? `${matches.length} of ${data.spans.length + data.marks.length}` : "";
  $("found-next").disabled = $("found-previous").disabled = !matches.length;
  chart.mapped = null;
  chart.draw();
  showEvents();
}

function nextMatch(forward) {
  if (!matches.length) return;
  const place = matches.indexOf(chart.chosen);
  const next = place < 0 ? (forward ? 0 : matches.length - 1) : (place + (forward ? 1 : -1) + matches.length) % matches.length;
  chart.choose(matches[next]);
  $("found").textContent = `${next + 1} of ${matches.length}`;
}

function showEvents() {
  const ids = chart.matches ? matches : [...Array(data.spans.length + data.marks.length).keys()].sort((a, b) => chart.begin(a) - chart.begin(b) || a - b);
  events.show(ids);
  $("events-count").textContent = chart.matches ? `${ids.length} that match the search` : `${ids.length}`;
}

// filling

function figure(title, value, more, bad) {
  return element("div", { class: bad ? "bad" : "" }, element("dt", {}, title), element("dd", { class: "value" }, value), element("dd", { class: "more-of-it", title: more }, more || "\u00a0"));
}

function middle(values, share = 0.5) {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (!sorted.length) return null;
  if (share === 0.5) return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function drawFigures() {
  const { invocations, costs, unwell, unended } = data;
  const inits = data.spans.filter((span) => span[KIND] === "init");
  const extensions = costs.filter((one) => one.kind === "extension");
  const cpu = extensions.map((one) => one.cpu).filter((one) => one !== null);
  const count = (kind) => data.marks.filter((mark) => mark[KIND] === kind).length;
  const all = (key) => invocations.map((one) => one[key]);
  const most = (key) => (all(key).filter((one) => one !== null).length > 1 ? `95 % within ${ms(middle(all(key), 0.95))}` : "");
  const how = [unwell ? `${unwell} with an error` : unended ? "" : "none with an error", unended ? `${unended} not ended` : ""];
  $("figures").append(
    figure("Invocations", `${invocations.length}`, how.filter(Boolean).join(", "), unwell),
    figure("Init", ms(inits.length ? inits[0][END] - inits[0][START] : null), inits.length > 1 ? `the first of ${inits.length}` : extensions.length === 1 ? "with 1 extension" : `with ${extensions.length} extensions`),
    figure("Response, median", ms(middle(all("response"))), most("response")),
    figure("After the response, median", ms(middle(all("after"))), most("after")),
    figure("CPU of the extensions", ms(cpu.length ? cpu.reduce((sum, one) => sum + one, 0) : null), extensions.length ? extensions.map((one) => one.party).slice(0, 2).join(", ") + (extensions.length > 2 ? " ..." : "") : "there are none"),
    figure("Faults / errors", `${count("fault")} / ${count("error")}`, "on the timeline", count("error")),
  );
  const trouble = unwell || count("error");
  $("health").textContent = unwell ? `${unwell} of ${invocations.length} not well`
    : trouble ? `${count("error")} error${count("error") === 1 ? "" : "s"}`
    : unended ? `${unended} of ${invocations.length} not ended` : "All went well";
  $("health").classList.toggle("bad", Boolean(trouble));
}

function drawParts() {
  const total = data.parts.reduce((sum, part) => sum + part[2], 0) || 1;
  const words = data.parts.map(([, name, time]) => `${name} ${ms(time)}`);
  $("parts-bar").setAttribute("aria-label", words.join(", "));
  for (const [kind, name, time] of data.parts) {
    const part = element("div", { class: `k-${kind}`, title: `${name}: ${ms(time)}` });
    part.style.flex = `${time} 1 0`;
    $("parts-bar").append(part);
    $("parts").append(element("li", {}, swatch(kind), element("span", {}, name), element("b", {}, ms(time)), element("span", {}, `${(time / total * 100).toFixed(time / total < 0.1 ? 1 : 0)} %`)));
  }
}

function drawLanes() {
  const rows = chart.lanes.map((lane) => {
    const cost = data.costs.find((one) => one.party === lane.name);
    const said = cost && cost.cpu !== null ? `${ms(cost.cpu)} CPU${cost.peak === null ? "" : `, ${number(cost.peak, 0)} MB`}` : ({ platform: "what Lambda does", output: "whose, is not told" })[lane.kind] || lane.kind;
    const item = element("li", { title: lane.name }, element("b", {}, lane.name), element("small", {}, said));
    item.style.height = `${lane.height}px`;
    item.addEventListener("click", () => chart.setLane(lane.place));
    return item;
  });
  $("lanes").replaceChildren(...rows);
}

function drawLegend() {
  if (!chart) return;
  const spans = new Set(data.spans.map((span) => span[KIND]));
  const marks = new Set(data.marks.map((mark) => mark[KIND]));
  const shown = Object.entries(data.spanKinds).filter(([kind]) => spans.has(kind) && kind !== "invoke");
  const toggles = Object.entries(data.markKinds).filter(([kind]) => marks.has(kind)).map(([kind, name]) => {
    const picture = element("canvas", { width: 28, height: 28, "aria-hidden": "true" });
    const pen = picture.getContext("2d");
    pen.scale(2, 2);
    paintMark(pen, kind, 7, 7, chart.color);
    const count = data.marks.filter((mark) => mark[KIND] === kind).length;
    const button = element("button", { type: "button", "aria-pressed": `${!chart.hidden.has(kind)}`, title: "Show or hide", "data-kind": kind }, picture, `${name} ${count}`);
    button.addEventListener("click", () => {
      if (!chart.hidden.delete(kind)) chart.hidden.add(kind);
      button.setAttribute("aria-pressed", `${!chart.hidden.has(kind)}`);
      chart.draw();
    });
    return button;
  });
  $("legend").replaceChildren(
    element("div", {}, ...shown.map(([kind, name]) => element("span", {}, swatch(kind), name))),
    element("div", { role: "group", "aria-label": "Marks that are shown" }, ...toggles),
  );
}

// everything together

$("main").hidden = false;
$("name").textContent = data.name;
$("facts").textContent = `${data.facts} \u00b7 ${ms(data.end)} in all`;
let chart = null;
setTheme(remembered() || (dark.matches ? "dark" : "light"));
chart = new Chart($("chart"), $("canvas"), $("map"), data, {
  chosen: (id) => {
    showDetails(id);
    if (id >= 0) markLane(chart.lane);
    const number = id < 0 ? 0 : chart.thing(id)[chart.isSpan(id) ? INVOCATION : 4];
    for (const row of $("invocations").tBodies[0].rows) row.classList.toggle("chosen", number > 0 && row.cells[0].textContent === `#${number}`);
  },
  lane: (lane) => {
    markLane(lane);
    $("details").replaceChildren(element("p", {}, element("b", {}, data.lanes[lane][0]), ` \u2013 n and p go through what happened there`));
  },
  painted: () => {
    $("zoom-out").disabled = $("zoom-fit").disabled = chart.isWhole();
  },
});
function markLane(lane) {
  [...$("lanes").children].forEach((item, place) => item.classList.toggle("chosen", place === lane));
}
handle(chart, $("tip"), describe);

const jump = (one) => {
  const id = data.spans.findIndex((span) => span[KIND] === "invoke" && span[INVOCATION] === one.number);
  if (id < 0) return;
  chart.between(chart.begin(id), chart.finish(id), 0.35);
  chart.choose(id, false);
  $("chart").scrollIntoView({ block: "center", behavior: chart.calm.matches ? "auto" : "smooth" });
  $("chart").focus({ preventScroll: true });
};
const reveal = (id) => {
  chart.choose(id);
  $("chart").scrollIntoView({ block: "center", behavior: chart.calm.matches ? "auto" : "smooth" });
};
const events = new Table($("events"), $("events-more"), [
  { title: "At", number: true, cell: (id) => link(moment(chart.begin(id), 0.1), "show on the timeline", () => reveal(id)) },
  { title: "Took", number: true, cell: (id) => (chart.isSpan(id) ? ms(chart.finish(id) - chart.begin(id)) : "") },
  { title: "Process", cell: (id) => data.lanes[chart.thing(id)[LANE]][0] },
  { title: "Kind", cell: (id) => (chart.isSpan(id) ? data.spanKinds : data.markKinds)[chart.thing(id)[KIND]] },
  { title: "What", class: "text", cell: (id) => chart.thing(id)[chart.isSpan(id) ? LABEL : 3] },
], { page: 25, open: reveal });
new Table($("invocations"), $("invocations-more"), invocationColumns(data.invocations, jump), { page: 20, open: jump }).show(data.invocations);
new Table($("costs"), null, COSTS).show(data.costs);
new Table($("measured"), $("measured-more"), measuredColumns(data.measured), { page: 12 }).show(data.measured);
$("measured-panel").hidden = !data.measured.length;
$("notes").append(...data.notes.map((note) => element("li", {}, note)));
$("notes-panel").hidden = !data.notes.length;
drawFigures();
drawParts();
drawLanes();
drawLegend();
showEvents();
showDetails(-1);

$("theme").addEventListener("click", () => setTheme(remembered(document.documentElement.dataset.theme === "dark" ? "light" : "dark") || (document.documentElement.dataset.theme === "dark" ? "light" : "dark")));
dark.addEventListener("change", () => remembered() || setTheme(dark.matches ? "dark" : "light"));
const help = () => $("help").showModal();
const fold = () => {
  chart.fold(!chart.folds);
  $("fold").setAttribute("aria-pressed", `${chart.folds}`);
};
for (const [id, act] of [["help-open", help], ["fold", fold], ["zoom-in", () => chart.zoom(0.5)], ["zoom-out", () => chart.zoom(2)],
  ["zoom-fit", () => chart.fit()], ["found-next", () => nextMatch(true)], ["found-previous", () => nextMatch(false)]]) {
  $(id).addEventListener("click", act);
}
$("fold").hidden = !data.pauses.length;
const quiet = data.pauses.reduce((sum, pause) => sum + pause[1] - pause[0], 0);
if (quiet > data.end * 0.4) fold();

let typed = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => search($("search").value), 120);
});
function back() {
  if ($("search").value) {
    $("search").value = "";
    search("");
  } else if (chart.chosen >= 0) {
    chart.choose(-1);
  } else {
    chart.fit();
  }
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const focused = document.activeElement;
  const types = focused instanceof HTMLInputElement;
  if (types && event.key === "Enter") {
    clearTimeout(typed);
    search($("search").value);
    nextMatch(!event.shiftKey);
  } else if (types && event.key === "Escape") {
    back();
    $("chart").focus();
  } else if (types) {
    return;
  } else if (event.key === "/") {
    $("search").focus();
    $("search").select();
  } else if (event.key === "?") {
    help();
  } else if (event.key === "Escape") {
    back();
  } else if (focused === $("chart") && event.key === "f" && data.pauses.length) {
    fold();
  } else if (focused !== $("chart") || !press(chart, event.key)) {
    return;
  }
  event.preventDefault();
});
