// The timeline: lanes on a canvas, of which only what is in view is drawn. A thing is a span (its place in the list) or a mark
// (its place behind the spans). Spans of one row never overlap, so that what lies at a point is found by halving.

const TALL = 4000; // pixels of the canvas
const AXIS = 26, BAR = 22, GAP = 3, PAD = 7, STRIP = 19, LEAST = 46, EDGE = 14, NARROWEST = 0.02;
const [LANE, KIND, START, END, LABEL, INVOCATION, ROW, DETAILS] = [0, 1, 2, 3, 4, 5, 6, 7];
const RANK = ["error", "fault", "exit", "response", "step", "batch", "log"]; // of marks that share a place, the first is drawn
const DIM = 0.16;

class Chart {
  constructor(root, canvas, map, data, events) {
    Object.assign(this, { root, canvas, map, data, events, chosen: -1, hovered: -1, lane: 0, folds: false, matches: null });
    this.context = canvas.getContext("2d");
    this.hidden = new Set();
    this.size = data.spans.length;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.lanes = data.lanes.map(([name, kind, rows], place) => (
      { name, kind, rows: Array.from({ length: rows }, () => []), marks: [], place, groups: [] }));
    data.spans.forEach((span, at) => this.lanes[span[LANE]].rows[span[ROW]].push(at));
    data.marks.forEach((mark, at) => this.lanes[mark[LANE]].marks.push(at + this.size));
    this.frozen = data.spans.filter((span) => span[KIND] === "frozen");
    let y = AXIS;
    for (const lane of this.lanes) {
      lane.y = y;
      lane.height = Math.max(LEAST, PAD + lane.rows.length * (BAR + GAP) + (lane.marks.length ? STRIP : 4));
      y += lane.height;
    }
    this.height = y + 1;
    root.style.height = `${this.height}px`;
    root.parentElement.classList.toggle("tall", this.height > TALL);
    this.fold(false);
    this.theme();
    new ResizeObserver(() => this.resize()).observe(root);
    if (this.height > TALL) document.addEventListener("scroll", () => this.draw(), { capture: true, passive: true });
    this.resize();
  }

  // what is in view

  fold(folds) {
    const kept = this.scale ? [this.scale.time(this.view[0]), this.scale.time(this.view[1])] : null;
    const whole = !kept || this.isWhole();
    this.folds = folds;
    this.scale = new Scale(this.data.end, this.data.pauses, folds);
    this.view = whole ? [0, this.scale.total] : kept.map((time) => this.scale.width(time));
    this.mapped = null;
    this.draw();
  }

  isWhole() { return this.view[0] <= 0 && this.view[1] >= this.scale.total; }
  x(time) { return (this.scale.width(time) - this.view[0]) / (this.view[1] - this.view[0]) * this.inner; }
  at(x) { return this.scale.time(this.view[0] + x / this.inner * (this.view[1] - this.view[0])); }
  thing(id) { return id < this.size ? this.data.spans[id] : this.data.marks[id - this.size]; }
  isSpan(id) { return id < this.size; }
  begin(id) { return this.thing(id)[START]; }
  finish(id) { return this.isSpan(id) ? this.thing(id)[END] : this.thing(id)[START]; }

  look(from, to, smooth = true) {
    const width = Math.min(Math.max(to - from, NARROWEST), this.scale.total);
    const start = Math.min(Math.max((from + to - width) / 2, 0), this.scale.total - width);
    const wanted = [start, start + width];
    cancelAnimationFrame(this.moving);
    if (!smooth || this.calm.matches) {
      this.view = wanted;
      this.draw();
      return;
    }
    const [first, begun] = [this.view, performance.now()];
    const step = (now) => {
      const share = Math.min(1, Math.max(0, (now - begun) / 140));
      const eased = 1 - (1 - share) ** 3;
      this.view = share === 1 ? wanted : first.map((one, side) => one + (wanted[side] - one) * eased);
      this.draw();
      if (share < 1) this.moving = requestAnimationFrame(step);
    };
    this.moving = requestAnimationFrame(step);
  }

  zoom(factor, x = this.inner / 2, smooth = true) {
    const [from, to] = this.view;
    const width = Math.min(Math.max((to - from) * factor, NARROWEST), this.scale.total);
    const fixed = from + x / this.inner * (to - from);
    const start = fixed - x / this.inner * width;
    this.look(start, start + width, smooth);
  }

  pan(share, smooth = true) {
    const step = (this.view[1] - this.view[0]) * share;
    this.look(this.view[0] + step, this.view[1] + step, smooth);
  }

  fit() { this.look(0, this.scale.total); }

  between(from, to, room = 0.08) {
    const [start, end] = [this.scale.width(from), this.scale.width(to)];
    const margin = Math.max((end - start) * room, 0.05);
    this.look(start - margin, end + margin);
  }

  // Into view if it is not there, and the view narrow enough to see it.
  show(id) {
    const [start, end] = [this.scale.width(this.begin(id)), this.scale.width(this.finish(id))];
    const width = this.view[1] - this.view[0];
    if (start >= this.view[0] && end <= this.view[1]) return;
    const wanted = Math.max(width, (end - start) * 1.2);
    this.look((start + end - wanted) / 2, (start + end + wanted) / 2);
  }

  // Only a timeline that is very high scrolls.
  scrollTo(id) {
    const frame = this.root.parentElement;
    if (this.height <= TALL) return;
    const thing = this.thing(id);
    const y = this.lanes[thing[LANE]].y + (this.isSpan(id) ? thing[ROW] * (BAR + GAP) : this.lanes[thing[LANE]].height - STRIP);
    if (y < frame.scrollTop || y + BAR + PAD > frame.scrollTop + frame.clientHeight) frame.scrollTop = y - frame.clientHeight / 2;
  }

  choose(id, shows = true) {
    this.chosen = id;
    if (id >= 0) {
      this.lane = this.thing(id)[LANE];
      if (shows) {
        this.show(id);
        this.scrollTo(id);
      }
    }
    this.events.chosen(id);
    this.draw();
  }

  // The next thing (or the one before) of the lane, by time; marks that are hidden are passed over.
  step(forward) {
    const lane = this.lanes[this.lane];
    const order = lane.order ??= [...lane.rows.flat(), ...lane.marks].sort((a, b) => this.begin(a) - this.begin(b) || a - b);
    const seen = order.filter((id) => this.isDrawn(id) && (!this.matches || this.matches[id]));
    if (!seen.length) return;
    const place = seen.indexOf(this.chosen);
    const near = firstAfter(seen.length, (at) => this.begin(seen[at]) >= this.at(0));
    const next = place < 0 ? near - (forward ? 0 : 1) : place + (forward ? 1 : -1);
    this.choose(seen[Math.min(Math.max(next, 0), seen.length - 1)]);
  }

  isDrawn(id) { return !this.hidden.has(this.thing(id)[KIND]) || this.isSpan(id); }

  setLane(lane) {
    this.lane = Math.min(Math.max(lane, 0), this.lanes.length - 1);
    this.events.lane(this.lane);
    this.draw();
  }

  // what lies at a point: [] for nothing; several for marks that share a place

  hit(x, y) {
    const lane = this.lanes.find((one) => y >= one.y && y < one.y + one.height);
    if (!lane) return [];
    const group = lane.groups.find((one) => Math.abs(one.x - x) <= Math.max(9, one.half) && y >= lane.y + lane.height - STRIP - 3);
    if (group) return group.ids;
    const row = lane.rows[Math.floor((y - lane.y - PAD / 2) / (BAR + GAP))];
    if (!row) return [];
    const after = firstAfter(row.length, (at) => this.data.spans[row[at]][START] > this.at(x + 2));
    const near = row.slice(Math.max(0, after - 20), after).filter((id) => this.data.spans[id][END] >= this.at(x - 2));
    // A thin bar is easier to meet than the line that it interrupts, and what lies under the point than what is beside it.
    const away = (id) => Math.max(this.data.spans[id][START] - this.at(x), this.at(x) - this.data.spans[id][END], 0);
    const waits = (id) => this.data.spans[id][KIND] === "wait";
    return near.sort((a, b) => waits(a) - waits(b) || away(a) - away(b)).slice(0, 1);
  }

  laneAt(y) { return this.lanes.findIndex((one) => y >= one.y && y < one.y + one.height); }

  // drawing

  theme() {
    const style = getComputedStyle(document.documentElement);
    this.color = new Proxy({}, { get: (known, name) => known[name] ??= style.getPropertyValue(`--${name}`).trim() });
    this.hatching = null;
    this.mapped = null;
    this.draw();
  }

  resize() {
    this.wide = Math.max(this.root.clientWidth, 50);
    this.inner = this.wide - EDGE; // so that what happened at the very end can be seen
    this.ratio = Math.min(window.devicePixelRatio || 1, 3);
    for (const [canvas, width, height] of [[this.canvas, this.wide, this.room()], [this.map, this.map.clientWidth, this.map.clientHeight]]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    Object.assign(this.canvas.style, { width: `${this.wide}px`, height: `${this.room()}px` });
    this.mapped = null;
    this.draw();
  }

  // How much of the timeline the canvas shows: all of it where that is a few windows high, for no canvas can be higher than
  // some ten thousand pixels.
  room() { return Math.min(this.height, TALL); }

  // The canvas lies where the window is.
  place() {
    const above = this.height > TALL ? -this.root.getBoundingClientRect().top - (TALL - window.innerHeight) / 2 : 0;
    this.top = Math.round(Math.min(Math.max(above, 0), this.height - this.room()));
    this.canvas.style.top = `${this.top}px`;
  }

  draw() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.paint();
    });
  }

  paint() {
    const { context, color } = this;
    this.place();
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, -this.top * this.ratio);
    context.clearRect(0, this.top, this.wide, this.room());
    context.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    context.textBaseline = "middle";
    this.drawn = 0;
    this.paintFrozen();
    this.paintAxis();
    for (const lane of this.lanes) {
      lane.groups = [];
      if (!this.isNear(lane.y, lane.height)) continue;
      context.fillStyle = color.line;
      context.fillRect(0, lane.y, this.wide, 1);
      lane.rows.forEach((row, place) => this.paintRow(lane, row, place));
      this.paintMarks(lane);
    }
    this.paintChosen();
    this.paintMap();
    const [from, to] = this.view.map((width) => this.scale.time(width));
    Object.assign(this.root.dataset, {
      from: from.toFixed(3), to: to.toFixed(3), inner: this.inner, top: this.top, drawn: this.drawn, chosen: this.chosen,
      groups: this.lanes.reduce((sum, lane) => sum + lane.groups.length, 0),
    });
    this.events.painted();
  }

  isNear(y, height) { return y < this.top + this.room() && y + height > this.top; }

  paintAxis() {
    const { context, color } = this;
    const step = niceStep((this.view[1] - this.view[0]) / this.inner * 92);
    const [from, to] = [this.at(0), this.at(this.wide)];
    const { times } = this.scale;
    const parts = times.slice(1).map((end, part) => [times[part], end]).filter(([start, end]) => end >= from && start <= to);
    const taken = []; // where words stand: those of the folded pauses come first
    for (const [start, end] of parts) if (this.scale.folded.has(start)) this.paintFold(this.x(start), this.x(end), end - start, taken);
    for (const [start, end] of parts) {
      if (this.scale.folded.has(start)) continue;
      for (let tick = Math.ceil(Math.max(start, from) / step) * step; tick <= Math.min(end, to); tick += step) {
        const x = this.x(tick);
        context.fillStyle = color.line;
        context.fillRect(Math.round(x), AXIS - 6, 1, this.height);
        this.write(moment(tick, step), x + 4, taken);
      }
    }
  }

  // Where time is folded, there is a double line instead of a scale, and how long it was.
  paintFold(left, right, time, taken) {
    this.context.fillStyle = this.color.strong;
    for (const y of [AXIS - 6, AXIS - 3]) this.context.fillRect(left + 1, y, Math.max(right - left - 2, 1), 1);
    const text = `(${ms(time)})`;
    this.write(text, (left + right - this.textWidth(text)) / 2, taken);
  }

  // A word above the lanes, if there is room for it.
  write(text, x, taken) {
    const end = x + this.textWidth(text);
    if (x < 0 || end > this.wide || taken.some(([left, right]) => x < right + 8 && end > left - 8)) return;
    this.context.fillStyle = this.color.quiet;
    this.context.fillText(text, x, 12);
    taken.push([x, end]);
  }

  paintFrozen() {
    const { context, color } = this;
    this.hatching ??= this.hatch();
    const top = this.lanes[0] ? this.lanes[0].y + this.lanes[0].height : AXIS;
    for (const span of this.frozen) {
      const [left, right] = [this.x(span[START]), this.x(span[END])];
      if (right < 0 || left > this.wide) continue;
      context.fillStyle = color.frozen;
      context.fillRect(left, top, right - left, this.height - top);
    }
  }

  hatch() {
    const tile = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
    const pen = tile.getContext("2d");
    pen.fillStyle = this.color.frozen;
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = this.color.hatch;
    pen.lineWidth = 2;
    for (const at of [-8, 0, 8]) {
      pen.beginPath();
      pen.moveTo(at - 2, 10);
      pen.lineTo(at + 10, -2);
      pen.stroke();
    }
    return this.context.createPattern(tile, "repeat");
  }

  paintRow(lane, row, place) {
    const { spans } = this.data;
    const [from, to] = [this.at(0), this.at(this.wide)];
    const y = lane.y + PAD + place * (BAR + GAP);
    if (!this.isNear(y, BAR)) return;
    let column = null; // what shares a pixel: its time by kind
    for (let at = firstAfter(row.length, (one) => spans[row[one]][END] >= from); at < row.length; at += 1) {
      const span = spans[row[at]];
      if (span[START] > to) break;
      const left = Math.max(this.x(span[START]), -4);
      const width = Math.min(this.x(span[END]), this.wide + 4) - left;
      const fades = Boolean(this.matches) && !this.matches[row[at]];
      if (width < 1) {
        const x = Math.floor(left);
        if (column?.x !== x) {
          this.paintColumn(column, y);
          column = { x, kinds: new Map(), fades: true };
        }
        for (const [kind, share] of this.shares(span)) column.kinds.set(kind, (column.kinds.get(kind) || 0) + Math.max(width * share, 0.001));
        column.fades &&= fades;
        continue;
      }
      this.paintColumn(column, y);
      column = null;
      this.drawn += 1;
      this.context.globalAlpha = fades ? DIM : 1;
      this.paintSpan(span, left, width, y);
      this.context.globalAlpha = 1;
    }
    this.paintColumn(column, y);
  }

  // What a span is drawn as: an invocation on the platform's lane in its two parts.
  shares(span) {
    const one = span[KIND] === "invoke" ? this.data.invocations[span[INVOCATION] - 1] : null;
    const whole = span[END] - span[START];
    if (!one || one.after === null || !whole) return [[span[KIND] === "invoke" ? "function" : span[KIND], 1]];
    return [["function", 1 - one.after / whole], ["after", one.after / whole]];
  }

  // A pixel that many share shows how much of it is whose; waiting takes no part of it.
  paintColumn(column, y) {
    if (!column) return;
    const { context, color } = this;
    this.drawn += 1;
    context.globalAlpha = column.fades ? DIM : 1;
    const work = [...column.kinds].filter(([kind]) => kind !== "wait");
    const total = work.reduce((sum, one) => sum + one[1], 0);
    if (column.kinds.has("wait") || !total) {
      context.fillStyle = color.wait;
      context.fillRect(column.x, y + BAR / 2 - 1, 1, 2);
    }
    let bottom = y + BAR;
    for (const [kind, share] of work) {
      const height = share / total * BAR;
      context.fillStyle = kind === "frozen" ? color.hatch : color[kind];
      context.fillRect(column.x, bottom - height, 1, height);
      bottom -= height;
    }
    context.globalAlpha = 1;
  }

  paintSpan(span, left, width, y) {
    const { context, color } = this;
    const kind = span[KIND];
    if (kind === "wait") {
      context.fillStyle = color.wait;
      context.fillRect(left, y + BAR / 2 - 1, width, 2);
      return;
    }
    const inset = width > 3 ? 0.5 : 0;
    context.fillStyle = kind === "frozen" ? this.hatching : color[kind];
    context.fillRect(left, y, width - inset, BAR);
    if (kind === "invoke") this.paintPhases(span, left, width, y);
    if (width < 26) return;
    const long = kind === "invoke" ? `#${span[INVOCATION]}  ${ms(span[END] - span[START])}` : `${span[LABEL]}  ${ms(span[END] - span[START])}`;
    const short = kind === "invoke" ? `#${span[INVOCATION]}` : ms(span[END] - span[START]);
    const text = [long, short].find((one) => this.textWidth(one) + 10 <= width);
    if (!text) return;
    context.fillStyle = color["on-span"];
    context.fillText(text, Math.max(left, 0) + 5, y + BAR / 2 + 0.5);
  }

  // On the platform's lane an invocation is what it consists of: the function's time, and what comes after the response.
  paintPhases(span, left, width, y) {
    const { context, color } = this;
    const one = this.data.invocations[span[INVOCATION] - 1];
    const given = Math.max(left, this.x(one.start + one.before));
    const response = one.response === null ? left + width : Math.min(left + width, this.x(one.start + one.before + one.response));
    context.fillStyle = color.function;
    context.fillRect(given, y, Math.max(response - given, 0), BAR);
    context.fillStyle = color.after;
    context.fillRect(response, y, Math.max(left + width - response - 0.5, 0), BAR);
  }

  textWidth(text) {
    this.widths ??= new Map();
    let width = this.widths.get(text);
    if (width === undefined) {
      width = this.context.measureText(text).width;
      if (this.widths.size > 5000) this.widths.clear();
      this.widths.set(text, width);
    }
    return width;
  }
}
