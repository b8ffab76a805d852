// Texts whose contrast with what is behind them is below 4.5 (WCAG 2.2, 1.4.3): [text, ratio].
const parse = (text) => text.match(/[\d.]+/g).map(Number);
const part = (one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const ratio = (a, b) => { const [high, low] = [light(a), light(b)].sort((x, y) => y - x); return (high + 0.05) / (low + 0.05); };
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const color = parse(getComputedStyle(one).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const weak = [];
for (const element of document.querySelectorAll("body *:not(script):not(style):not(canvas)")) {
  const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
  if (!text || !element.checkVisibility() || element.disabled) continue;
  const found = ratio(parse(getComputedStyle(element).color), behind(element));
  if (found < 4.5) weak.push([text.slice(0, 40), found]);
}
// What the canvas writes: words on bars, times and marks on the panel.
const probe = document.body.appendChild(document.createElement("i"));
const color = (name) => { probe.style.color = `var(--${name})`; return parse(getComputedStyle(probe).color); };
for (const kind of ["init", "start", "prepare", "restore", "function", "beside", "after", "flush", "frozen", "hatch", "shutdown", "invoke"]) {
  if (ratio(color("on-span"), color(kind)) < 4.5) weak.push([`words on ${kind}`, ratio(color("on-span"), color(kind))]);
}
for (const kind of ["quiet", "ink", "response", "batch", "log", "step", "fault", "error", "exit"]) {
  for (const ground of ["panel", "frozen"]) {
    if (ratio(color(kind), color(ground)) < 4.5) weak.push([`${kind} on ${ground}`, ratio(color(kind), color(ground))]);
  }
}
probe.remove();
return weak;
