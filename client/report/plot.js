'use strict';
// The report's data, and what its drawings share; timeline.js and page.js follow in the same script.
// The element #data holds:
//   evaluation     what `astray evaluate --json` prints
//   data, unit, features, window, target, epoch, samples, program, entity_count
//   entities       [{name, rows, stride, high, low, anomalous, hindsight_high, hindsight_low, ranges, names}]: a column
//                  stands for `stride` adjacent rows; high and low are its highest and lowest score (no low where
//                  stride is 1), anomalous the highest of those labelled so (only where rows do not follow each other
//                  in time), hindsight_* the same in hindsight (only of a model that has one), null without a score;
//                  ranges are labelled rows [first, end)
//   curve          [[false-positive rate, recall, precision]]
//   hindsight      {target, curve} of the scores in hindsight; null of a model that has none
//   calibration    [[alpha, share of normal rows with a p-value of at most alpha]]
//   leads          [[feature, flagged anomalous rows, flagged normal rows]]
//   alarms         [{entity, first, last, name, score, p, anomalous, by_t_squared,
//                    causes: [[feature, share, observed, expected]]}]
// Names come from users' files. They only ever become text nodes.
const data = JSON.parse(document.getElementById('data').textContent);
const measured = data.evaluation;
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);

function html(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const count = (number) => Number(number).toLocaleString('en-US');
const plural = (number, noun) => `${count(number)} ${noun}${Number(number) === 1 ? '' : 's'}`;
const fixed = (value) => (Number.isFinite(Number(value)) ? Number(value).toFixed(4) : '–');
function short(value) {
  if (value === null) return 'missing';
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

// Scales: value -> pixel.
function scaleOf(low, high, log, from, to) {
  const place = log ? Math.log10 : (value) => value;
  const span = place(high) - place(low) || 1;
  return (value) => from + ((place(Math.min(high, Math.max(low, value))) - place(low)) / span) * (to - from);
}

function ticksOf(low, high, log, most) {
  if (log) {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    const step = Math.max(1, Math.ceil((last - first + 1) / most));
    const ticks = [];
    for (let power = first; power <= last; power += step) ticks.push(10 ** power);
    if (ticks.length > 2) return ticks;
    let fine = [];
    for (let power = first - 1; power <= last; ++power) fine.push(...[1, 2, 5].map((factor) => factor * 10 ** power));
    fine = fine.filter((value) => value >= low && value <= high);
    return fine.length <= most || ticks.length < 2 ? fine : ticks;
  }
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k) ticks.push(k * step);
  return ticks;
}

function tickText(value) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(0).replace('e+', 'e');
  return size >= 1000 ? count(value) : String(Number(value.toPrecision(4)));
}

// Axes and grid in `host`. x and y: {low, high, log, name}. The pixels that scales give are those of the SVG's own box.
function frame(host, height, x, y) {
  const width = Math.max(240, host.clientWidth);
  const left = 62, right = width - 12, top = 10, bottom = height - 40;
  const root = svg('svg', {viewBox: `0 0 ${width} ${height}`, height, role: 'img'});
  const across = scaleOf(x.low, x.high, x.log, left, right);
  const up = scaleOf(y.low, y.high, y.log, bottom, top);
  const grid = svg('g', {});
  for (const value of ticksOf(x.low, x.high, x.log, Math.floor((right - left) / 70))) {
    grid.append(
        svg('path', {class: 'grid', d: `M${across(value)} ${top}V${bottom}`}),
        svg('text', {x: across(value), y: bottom + 16, 'text-anchor': 'middle'}, tickText(value)));
  }
  for (const value of ticksOf(y.low, y.high, y.log, Math.floor((bottom - top) / 32))) {
    grid.append(
        svg('path', {class: 'grid', d: `M${left} ${up(value)}H${right}`}),
        svg('text', {x: left - 6, y: up(value) + 4, 'text-anchor': 'end'}, tickText(value)));
  }
  grid.append(svg('text', {x: (left + right) / 2, y: height - 6, 'text-anchor': 'middle'}, x.name));
  root.append(
      grid,
      svg('text', {x: 0, y: 0, transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle'},
          y.name));
  host.replaceChildren(root);
  return {root, across, up, left, right, top, bottom};
}

function lineThrough(points, across, up) {
  return points.map(([x, y], i) => `${i ? 'L' : 'M'}${across(x).toFixed(1)} ${up(y).toFixed(1)}`).join('');
}
