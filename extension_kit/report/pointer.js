// Hands on the timeline: pointer, wheel, keys.

const CLICK = 4; // pixels that a pointer may move in a click

function handle(chart, tip, describe) {
  const { root, map } = chart;
  let down = null;
  const point = (event) => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  root.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = point(event);
    down = { x, y, view: chart.view, pans: event.shiftKey, moved: false };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    const [x, y] = point(event);
    if (!down) {
      hover(x, y);
      return;
    }
    down.moved ||= Math.abs(x - down.x) > CLICK;
    if (!down.moved) return;
    tip.hidden = true;
    if (down.pans) {
      const step = (down.x - x) / chart.inner * (down.view[1] - down.view[0]);
      chart.look(down.view[0] + step, down.view[1] + step, false);
    } else {
      chart.range = [down.x, x];
      chart.draw();
    }
  });
  root.addEventListener("pointerup", (event) => {
    if (!down) return;
    const [x, y] = point(event);
    if (!down.moved) {
      const ids = chart.hit(x, y);
      chart.choose(ids.length ? nextOf(ids) : -1, false);
      if (!ids.length && chart.laneAt(y) >= 0) chart.setLane(chart.laneAt(y));
    } else if (!down.pans) {
      const [from, to] = [down.x, x].sort((a, b) => a - b).map((one) => chart.scale.width(chart.at(one)));
      chart.look(from, to);
    }
    chart.range = down = null;
    chart.draw();
  });
  root.addEventListener("pointercancel", () => {
    chart.range = down = null;
    chart.draw();
  });
  root.addEventListener("pointerleave", () => hover(-1, -1));
  root.addEventListener("dblclick", (event) => {
    const ids = chart.hit(...point(event));
    if (ids.length) chart.between(Math.min(...ids.map((id) => chart.begin(id))), Math.max(...ids.map((id) => chart.finish(id))));
  });
  // A second click on the same place chooses the next of the things that share it.
  const nextOf = (ids) => ids[(ids.indexOf(chart.chosen) + 1) % ids.length];

  root.addEventListener("wheel", (event) => {
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) {
      chart.pan(sideways / chart.inner, false);
    } else {
      if (event.deltaY > 0 && chart.isWhole()) return; // there is no more to see: the page scrolls
      const lines = event.deltaMode === 1 ? 30 : 1;
      chart.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * lines / 300))), point(event)[0], false);
    }
    event.preventDefault();
  }, { passive: false });

  function hover(x, y) {
    const ids = x < 0 ? [] : chart.hit(x, y);
    const id = ids.length ? ids[0] : -1;
    if (id !== chart.hovered) {
      chart.hovered = id;
      chart.draw();
    }
    tip.hidden = id < 0;
    if (id < 0) return;
    tip.replaceChildren(...describe(ids, 6));
    const left = x + 16 + tip.offsetWidth > chart.wide ? Math.max(0, x - 16 - tip.offsetWidth) : x + 16;
    tip.style.left = `${left}px`;
    tip.style.top = `${y + 18}px`;
  }

  document.addEventListener("keydown", () => hover(-1, -1));

  const mapTime = (event) => {
    const box = map.getBoundingClientRect();
    const half = (chart.view[1] - chart.view[0]) / 2;
    const middle = (event.clientX - box.left) / box.width * chart.scale.total;
    chart.look(middle - half, middle + half, false);
  };
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    if (chart.isWhole()) chart.zoom(0.2, (event.clientX - map.getBoundingClientRect().left) / map.clientWidth * chart.inner, false);
    mapTime(event);
  });
  map.addEventListener("pointermove", (event) => {
    if (event.buttons && map.hasPointerCapture(event.pointerId)) mapTime(event);
  });
}

// Keys of the timeline; true for those that it has taken.
function press(chart, key) {
  const keys = {
    ArrowLeft: () => chart.pan(-0.12),
    ArrowRight: () => chart.pan(0.12),
    ArrowUp: () => chart.setLane(chart.lane - 1),
    ArrowDown: () => chart.setLane(chart.lane + 1),
    n: () => chart.step(true),
    p: () => chart.step(false),
    "+": () => chart.zoom(0.5),
    "=": () => chart.zoom(0.5),
    "-": () => chart.zoom(2),
    0: () => chart.fit(),
    Home: () => chart.look(0, chart.view[1] - chart.view[0]),
    End: () => chart.look(chart.scale.total - chart.view[1] + chart.view[0], chart.scale.total),
    Enter: () => (chart.chosen < 0 ? chart.step(true) : chart.between(chart.begin(chart.chosen), chart.finish(chart.chosen))),
  };
  if (!(key in keys)) return false;
  keys[key]();
  return true;
}
