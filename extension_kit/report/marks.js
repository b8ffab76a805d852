// The timeline's small things: marks, of which those that would touch are one with a number; what is chosen; the map above.

Object.assign(Chart.prototype, {
  paintMarks(lane) {
    const { marks } = this.data;
    const [from, to] = [this.at(-10), this.at(this.wide + 10)];
    let group = null;
    for (let at = firstAfter(lane.marks.length, (one) => this.begin(lane.marks[one]) >= from); at < lane.marks.length; at += 1) {
      const id = lane.marks[at];
      const mark = marks[id - this.size];
      if (mark[START] > to) break;
      if (this.hidden.has(mark[KIND]) || (this.matches && !this.matches[id])) continue;
      const x = this.x(mark[START]);
      // A group is not much wider than its number: a long row of marks becomes several.
      if (group && x - group.last < 15 && x - group.first <= 70) {
        group.ids.push(id);
        group.last = x;
        if (RANK.indexOf(mark[KIND]) < RANK.indexOf(group.kind)) group.kind = mark[KIND];
      } else {
        group = { first: x, last: x, ids: [id], kind: mark[KIND] };
        lane.groups.push(group);
      }
    }
    const y = lane.y + lane.height - STRIP / 2 - 1;
    let taken = -100; // up to where there is something already
    for (const one of lane.groups) {
      one.half = one.ids.length === 1 ? 6 : Math.max((one.last - one.first) / 2 - 1, this.textWidth(`${one.ids.length}`) / 2 + 10);
      one.x = Math.max((one.first + one.last) / 2, taken + 2 + one.half);
      taken = one.x + one.half;
    }
    // What happened at the very end is not cut off: it, and what it pushes, moves to the left.
    let end = this.wide - 1;
    for (const one of lane.groups.toReversed()) {
      if (one.x + one.half <= end || one.last > this.wide) break;
      one.x = end - one.half;
      end = one.x - one.half - 2;
    }
    for (const one of lane.groups) this.paintGroup(one, y);
    this.drawn += lane.groups.length;
  },

  paintGroup(group, y) {
    const { context, color } = this;
    const number = this.textWidth(`${group.ids.length}`);
    if (group.ids.length === 1) {
      paintMark(context, group.kind, group.x, y, color);
      return;
    }
    context.fillStyle = color.panel;
    context.strokeStyle = color[group.kind];
    context.lineWidth = 1.25;
    context.beginPath();
    context.roundRect(group.x - group.half, y - 7.5, group.half * 2, 15, 7.5);
    context.fill();
    context.stroke();
    const left = group.x - (number + 11) / 2;
    paintMark(context, group.kind, left + 3.5, y, color, 0.75);
    context.fillStyle = color.ink;
    context.fillText(`${group.ids.length}`, left + 11, y + 0.5);
  },

  paintChosen() {
    const { context, color } = this;
    for (const [id, width] of [[this.hovered, 1.25], [this.chosen, 2.25]]) {
      if (id < 0) continue;
      const thing = this.thing(id);
      const lane = this.lanes[thing[LANE]];
      context.strokeStyle = color.ink;
      context.lineWidth = width;
      context.beginPath();
      if (this.isSpan(id)) {
        const [left, right] = [Math.max(this.x(thing[START]), -5), Math.min(this.x(thing[END]), this.wide + 5)];
        context.roundRect(left, lane.y + PAD + thing[ROW] * (BAR + GAP) - 0.5, Math.max(right - left, 2), BAR + 1, 2);
      } else {
        context.arc(this.x(thing[START]), lane.y + lane.height - STRIP / 2 - 1, 8.5, 0, 7);
      }
      context.stroke();
    }
    if (this.range) {
      const [left, right] = [Math.min(...this.range), Math.max(...this.range)];
      context.fillStyle = color.accent;
      context.globalAlpha = 0.16;
      context.fillRect(left, 0, right - left, this.height);
      context.globalAlpha = 1;
      context.fillRect(left, 0, 1, this.height);
      context.fillRect(right, 0, 1, this.height);
      const text = ms(Math.abs(this.at(right) - this.at(left)));
      context.fillStyle = color.ink;
      context.fillText(text, Math.min(right + 6, this.wide - this.textWidth(text) - 6), AXIS + 12);
    }
  },

  paintMap() {
    const canvas = this.map;
    const context = canvas.getContext("2d");
    const [width, height] = [canvas.width / this.ratio, canvas.height / this.ratio];
    this.mapped ??= this.wholeMap(width, height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.mapped, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    if (this.isWhole()) return;
    const [left, right] = this.view.map((one) => one / this.scale.total * width);
    context.fillStyle = this.color.page;
    context.globalAlpha = 0.72;
    context.fillRect(0, 0, left, height);
    context.fillRect(right, 0, width - right, height);
    context.globalAlpha = 1;
    context.strokeStyle = this.color.accent;
    context.lineWidth = 2;
    context.strokeRect(left, 1, Math.max(right - left, 3), height - 2);
  },

  wholeMap(width, height) {
    const picture = Object.assign(document.createElement("canvas"), { width: this.map.width, height: this.map.height });
    const context = picture.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const thick = Math.min(9, (height - 8) / Math.max(this.lanes.length, 1));
    const x = (time) => this.scale.width(time) / this.scale.total * width;
    this.data.spans.forEach((span, id) => {
      if (span[KIND] === "wait") return;
      const left = x(span[START]);
      const y = 4 + span[LANE] * thick;
      context.globalAlpha = this.matches && !this.matches[id] ? DIM : 1;
      context.fillStyle = span[KIND] === "frozen" ? this.color.hatch : span[KIND] === "invoke" ? this.color.function : this.color[span[KIND]];
      context.fillRect(left, y, Math.max(x(span[END]) - left, 0.75), Math.max(thick - 1, 1));
    });
    context.globalAlpha = 1;
    this.data.marks.forEach((mark, at) => {
      const found = this.matches && this.matches[at + this.size];
      if (!found && !["error", "fault"].includes(mark[KIND])) return;
      context.fillStyle = found ? this.color.accent : this.color[mark[KIND]];
      context.fillRect(x(mark[START]) - 0.75, found ? 0 : height - 5, 1.5, found ? height : 5);
    });
    return picture;
  },
});

// A shape for each kind, so that colour is not all that tells them apart.
function paintMark(context, kind, x, y, color, size = 1) {
  const r = 4.6 * size;
  context.fillStyle = context.strokeStyle = color[kind];
  context.lineWidth = 1.7 * size;
  context.beginPath();
  if (kind === "response") {
    context.moveTo(x - r, y - r);
    context.lineTo(x + r, y - r);
    context.lineTo(x, y + r);
    context.fill();
  } else if (kind === "batch") {
    context.fillRect(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6);
  } else if (kind === "log") {
    context.fillRect(x - r, y - r * 0.7, r * 2, 1.7 * size);
    context.fillRect(x - r, y + r * 0.25, r * 1.4, 1.7 * size);
  } else if (kind === "step") {
    context.arc(x, y, r * 0.8, 0, 7);
    context.stroke();
  } else if (kind === "fault") {
    context.moveTo(x, y - r * 1.2);
    context.lineTo(x + r * 1.1, y);
    context.lineTo(x, y + r * 1.2);
    context.lineTo(x - r * 1.1, y);
    context.fill();
  } else if (kind === "error") {
    context.lineWidth = 2.3 * size;
    context.moveTo(x - r * 0.8, y - r * 0.8);
    context.lineTo(x + r * 0.8, y + r * 0.8);
    context.moveTo(x + r * 0.8, y - r * 0.8);
    context.lineTo(x - r * 0.8, y + r * 0.8);
    context.stroke();
  } else {
    context.fillRect(x - 1, y - r * 1.1, 2 * size, r * 2.2);
    context.fillRect(x - r, y + r * 0.7, r * 2, 1.7 * size);
  }
}
