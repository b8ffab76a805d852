// Time and width: a line with corners where a pause is folded. A width unit is a millisecond that is not folded.

// Of the time that is not frozen: what a folded pause, and what all of them, are drawn as at most.
const [ONE_PAUSE, ALL_PAUSES] = [0.04, 0.12];

class Scale {
  constructor(end, pauses, folds) {
    this.times = [0];
    this.widths = [0];
    this.folded = new Set(); // when the pauses began that are drawn shorter than they were
    const frozen = pauses.reduce((sum, pause) => sum + pause[1] - pause[0], 0);
    const longest = Math.max(end - frozen, 0.001) * Math.min(ONE_PAUSE, ALL_PAUSES / Math.max(pauses.length, 1));
    for (const [start, stop] of folds ? pauses : []) {
      if (stop - start > longest) {
        this.corner(start, start - this.times.at(-1));
        this.corner(stop, longest);
        this.folded.add(start);
      }
    }
    const rest = Math.max(end - this.times.at(-1), 0.001);
    this.corner(this.times.at(-1) + rest, rest);
    this.total = this.widths.at(-1);
  }

  corner(time, width) {
    this.times.push(time);
    this.widths.push(this.widths.at(-1) + width);
  }

  width(time) { return along(time, this.times, this.widths); }
  time(width) { return along(width, this.widths, this.times); }
}

function along(value, given, wanted) {
  const part = Math.min(Math.max(firstAfter(given.length, (at) => given[at] > value) - 1, 0), given.length - 2);
  const length = given[part + 1] - given[part];
  return wanted[part] + (length ? (value - given[part]) / length : 0) * (wanted[part + 1] - wanted[part]);
}

// The first of `size` places for which `is` holds; it must hold for all behind that one, too.
function firstAfter(size, is) {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle; else low = middle + 1;
  }
  return low;
}

// Times as people read them: never more digits than say something.
function ms(value) {
  if (value === null || value === undefined) return "\u2013";
  const size = Math.abs(value);
  if (size >= 172800000) return `${(value / 86400000).toFixed(1)} days`;
  if (size >= 7200000) return `${(value / 3600000).toFixed(1)} h`;
  if (size >= 60000) return `${(value / 60000).toFixed(1)} min`;
  if (size >= 10000) return `${(value / 1000).toFixed(1)} s`;
  if (size >= 1000) return `${(value / 1000).toFixed(2)} s`;
  if (size >= 100) return `${value.toFixed(0)} ms`;
  if (size >= 1 || size === 0) return `${value.toFixed(1).replace(/\.0$/, "")} ms`;
  return `${(value * 1000).toFixed(0)} \u00b5s`;
}

function moment(value, step) {
  if (step >= 1000) return `${(value / 1000).toFixed(step % 1000 ? 1 : 0)} s`;
  if (value >= 10000) return `${(value / 1000).toFixed(step >= 100 ? 1 : step >= 10 ? 2 : step >= 1 ? 3 : 4)} s`;
  return `${value.toFixed(step >= 1 ? 0 : step >= 0.1 ? 1 : 3)} ms`;
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least * 0.999);
}
