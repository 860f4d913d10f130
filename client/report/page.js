'use strict';
// The element #data holds:
//   evaluation     what `astray evaluate --json` prints
//   data, unit, features, window, target, epoch, samples, program, entity_count
//   entities       [{name, rows, stride, high, low, anomalous, ranges, names}]: a column stands for `stride` adjacent rows; high and
//                  low are its highest and lowest score (no low where stride is 1), anomalous the highest of those labelled so (only
//                  where rows do not follow each other in time), null without a score; ranges are labelled rows [first, end)
//   curve          [[false-positive rate, recall, precision]]
//   calibration    [[alpha, share of normal rows with a p-value of at most alpha]]
//   leads          [[feature, flagged anomalous rows, flagged normal rows]]
//   alarms         [{entity, first, last, name, score, p, anomalous, causes: [[feature, share, observed, expected]]}]
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
    const fine = [];
    for (let power = first - 1; power <= last; ++power) fine.push(...[1, 2, 5].map((factor) => factor * 10 ** power));
    return fine.filter((value) => value >= low && value <= high);
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
    grid.append(svg('path', {class: 'grid', d: `M${across(value)} ${top}V${bottom}`}),
                svg('text', {x: across(value), y: bottom + 16, 'text-anchor': 'middle'}, tickText(value)));
  }
  for (const value of ticksOf(y.low, y.high, y.log, Math.floor((bottom - top) / 32))) {
    grid.append(svg('path', {class: 'grid', d: `M${left} ${up(value)}H${right}`}),
                svg('text', {x: left - 6, y: up(value) + 4, 'text-anchor': 'end'}, tickText(value)));
  }
  grid.append(svg('text', {x: (left + right) / 2, y: height - 6, 'text-anchor': 'middle'}, x.name));
  root.append(grid, svg('text', {x: 0, y: 0, transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`,
                                 'text-anchor': 'middle'}, y.name));
  host.replaceChildren(root);
  return {root, across, up, left, right, top, bottom};
}

function lineThrough(points, across, up) {
  return points.map(([x, y], i) => `${i ? 'L' : 'M'}${across(x).toFixed(1)} ${up(y).toFixed(1)}`).join('');
}

// ---- header and measures

function measure(id, name, value, more) {
  const tile = html('div', 'measure', html('div', 'name', name), html('div', 'value', value), html('div', 'more', more || ''));
  tile.id = id;
  byId('measures').append(tile);
}

function drawHeader() {
  document.title = `${measured.model} version ${measured.version} on ${data.data} – Astray evaluation`;
  byId('title').textContent = `${measured.model}, version ${measured.version}`;
  const window = data.window > 1 ? `, in windows of ${data.window}` : '';
  byId('subtitle').textContent =
      `${data.data}: ${plural(measured.rows, data.unit)} of ${plural(data.features, 'feature')}${window}; ` +
      `${count(measured.scored_rows)} scored, ${count(measured.anomalous_rows)} labelled anomalous, ` +
      `${count(measured.flagged_rows)} flagged`;
  measure('auroc', 'AUROC', fixed(measured.auroc), 'ranking; .5 is chance');
  measure('average-precision', 'Average precision', fixed(measured.average_precision),
          `chance is ${fixed(measured.anomalous_rows / measured.scored_rows)}`);
  if (measured.time_ordered) {
    measure('vus-pr', 'VUS-PR', fixed(measured.vus_pr), `by ranges, window of ${plural(measured.vus_pr_window, 'row')}`);
  }
  measure('f1', 'F1 at the threshold', fixed(measured.f1_at_threshold),
          `precision ${fixed(measured.precision_at_threshold)}, recall ${fixed(measured.recall_at_threshold)}`);
  measure('best-f1', 'Best F1', fixed(measured.best_f1), 'at the best of all thresholds');
  measure('false-positive-rate', 'False-positive rate', fixed(measured.false_positive_rate), `calibrated for ${data.target}`);
  if (measured.time_ordered) {
    const detected = measured.ranges_detected;
    measure('ranges', 'Ranges found', `${count(detected)} of ${count(measured.ranges)}`,
            detected ? `after ${plural(measured.detection_delay_rows_median, 'row')}, median; ` +
                       `${Number(measured.detection_delay_rows_mean.toFixed(1))} on average` : '');
  }
}

// ---- score over rows

const view = {entity: 0, first: 0, end: 1, log: true};  // rows [first, end) of the entity

function scoreBounds(entity) {
  let low = Infinity, high = 1;
  for (const value of entity.low || entity.high) if (value !== null && value > 0) low = Math.min(low, value);
  for (const value of entity.high) if (value !== null) high = Math.max(high, value);
  if (!view.log) return {low: 0, high: high * 1.05, log: false, name: 'score'};
  low = Math.min(0.5, Math.max(low, 1e-4));
  return {low, high: Math.max(high * 1.3, 2), log: true, name: 'score'};
}

// The highest and lowest score of each pixel's columns.
function scorePath(entity, plot) {
  const firstColumn = Math.floor(view.first / entity.stride), endColumn = Math.ceil(view.end / entity.stride);
  const perStep = Math.max(1, (endColumn - firstColumn) / Math.max(1, plot.right - plot.left));
  let path = '', drawing = false;
  for (let at = firstColumn; at < endColumn; at += perStep) {
    let high = -Infinity, low = Infinity;
    for (let c = Math.floor(at); c < Math.min(endColumn, Math.floor(at + perStep)); ++c) {
      if (entity.high[c] === null) continue;
      high = Math.max(high, entity.high[c]);
      low = Math.min(low, entity.low ? entity.low[c] : entity.high[c]);
    }
    if (high === -Infinity) {
      drawing = false;
      continue;
    }
    const x = plot.across((at + perStep / 2) * entity.stride + 0.5).toFixed(1);
    path += `${drawing ? 'L' : 'M'}${x} ${plot.up(high).toFixed(1)}`;
    if (low < high) path += `V${plot.up(low).toFixed(1)}`;
    drawing = true;
  }
  return path;
}

function dotsPath(entity, values, plot) {
  let path = '';
  for (let c = Math.floor(view.first / entity.stride); c * entity.stride < view.end; ++c) {
    if (values[c] === null || values[c] === undefined) continue;
    path += `M${plot.across((c + 0.5) * entity.stride + 0.5).toFixed(1)} ${plot.up(values[c]).toFixed(1)}h0`;
  }
  return path;
}

// Flagged columns under the plot, adjacent ones as one.
function flagRects(entity, plot) {
  const group = svg('g', {class: 'flags'});
  const columns = entity.high.length;
  for (let c = Math.floor(view.first / entity.stride); c < columns && c * entity.stride < view.end;) {
    if (!(entity.high[c] > 1)) {
      ++c;
      continue;
    }
    let end = c;
    while (end < columns && entity.high[end] > 1) ++end;
    const from = plot.across(Math.max(view.first, c * entity.stride) + 0.5);
    const to = plot.across(Math.min(view.end, end * entity.stride) + 0.5);
    group.append(svg('rect', {class: 'flag', x: from, y: plot.bottom - 5, width: Math.max(1.5, to - from), height: 5}));
    c = end;
  }
  return group;
}

function drawScores() {
  const entity = data.entities[view.entity];
  const plot = frame(byId('score-plot'), 340, {low: view.first + 0.5, high: view.end + 0.5, name: data.unit}, scoreBounds(entity));
  plot.root.setAttribute('aria-label', `score of each ${data.unit}`);
  const ranges = svg('g', {class: 'ranges'});
  for (const [first, end] of entity.ranges) {
    if (end <= view.first || first >= view.end) continue;
    const from = plot.across(Math.max(first, view.first) + 0.5), to = plot.across(Math.min(end, view.end) + 0.5);
    ranges.append(svg('rect', {class: 'range', x: from, y: plot.top, width: Math.max(1.5, to - from),
                               height: plot.bottom - plot.top}));
  }
  plot.root.append(ranges);
  if (entity.anomalous) {
    // Where a column's highest is its highest anomalous row, the dot on top says so.
    plot.root.append(svg('path', {class: 'dots normal', d: dotsPath(entity, entity.high, plot)}),
                     svg('path', {class: 'dots anomalous', d: dotsPath(entity, entity.anomalous, plot)}));
  } else {
    plot.root.append(svg('path', {class: 'score', d: scorePath(entity, plot)}), flagRects(entity, plot));
  }
  plot.root.append(svg('path', {class: 'threshold', d: `M${plot.left} ${plot.up(1)}H${plot.right}`}),
                   svg('text', {class: 'threshold-name', x: plot.right, y: plot.up(1) - 5, 'text-anchor': 'end'}, 'threshold'));
  if (entity.names && measured.time_ordered) {
    const ends = [[view.first, plot.left, 'start'], [view.end - 1, plot.right, 'end']];
    for (const [row, x, anchor] of ends) {
      plot.root.append(svg('text', {class: 'time', x, y: plot.bottom + 34, 'text-anchor': anchor},
                           entity.names[Math.floor(row / entity.stride)]));
    }
  }
  byId('all').disabled = view.first === 0 && view.end === entity.rows;
  followPointer(entity, plot);
}

const rowAt = (entity, plot, x) => {
  const share = (x - plot.left) / (plot.right - plot.left);
  return Math.min(entity.rows - 1, Math.max(0, Math.floor(view.first + share * (view.end - view.first))));
};

function readOut(entity, row) {
  const column = Math.floor(row / entity.stride);
  const first = column * entity.stride, last = Math.min(entity.rows, first + entity.stride);
  const score = entity.high[column];
  const labelled = entity.anomalous ? entity.anomalous[column] !== null : entity.ranges.some(([a, b]) => a < last && b > first);
  const rows = last - first > 1 ? `${data.unit}s ${count(first + 1)}–${count(last)}, highest` : `${data.unit} ${count(first + 1)}`;
  const name = entity.names && entity.names[column] ? ` · ${entity.names[column]}` : '';
  const verdict = score === null ? 'no score' : `score ${short(score)}${score > 1 ? ', flagged' : ''}`;
  return `${rows}${name} · ${verdict}${labelled ? ' · labelled anomalous' : ''}`;
}

function followPointer(entity, plot) {
  let pressed = null;
  const cursor = svg('path', {class: 'cursor', d: ''});
  const choice = svg('rect', {class: 'choice', y: plot.top, height: plot.bottom - plot.top, x: 0, width: 0});
  plot.root.append(cursor, choice);
  const place = (event) => {
    const box = plot.root.getBoundingClientRect();
    return Math.min(plot.right, Math.max(plot.left, event.clientX - box.left));
  };
  plot.root.addEventListener('pointermove', (event) => {
    const x = place(event);
    cursor.setAttribute('d', `M${x} ${plot.top}V${plot.bottom}`);
    byId('readout').textContent = readOut(entity, rowAt(entity, plot, x));
    if (pressed === null) return;
    choice.setAttribute('x', Math.min(x, pressed));
    choice.setAttribute('width', Math.abs(x - pressed));
  });
  plot.root.addEventListener('pointerdown', (event) => {
    pressed = place(event);
    plot.root.setPointerCapture(event.pointerId);
  });
  plot.root.addEventListener('pointerup', (event) => {
    const from = Math.min(pressed, place(event)), to = Math.max(pressed, place(event));
    pressed = null;
    choice.setAttribute('width', 0);
    if (to - from > 6) show(rowAt(entity, plot, from), rowAt(entity, plot, to) + 1);
  });
  plot.root.addEventListener('pointercancel', () => { pressed = null; });
  plot.root.addEventListener('dblclick', () => show(0, entity.rows));
}

function show(first, end) {
  const rows = data.entities[view.entity].rows;
  const least = Math.min(rows, 10);
  view.first = Math.max(0, Math.min(first, rows - least));
  view.end = Math.min(rows, Math.max(end, view.first + least));
  drawScores();
}

function legendEntry(color, text) {
  const patch = html('i');
  patch.style.background = `var(${color})`;
  return html('span', '', patch, text);
}

function drawTimeline() {
  byId('timeline-title').textContent = measured.time_ordered ? 'Score over time' : `Score of each ${data.unit}`;
  const legend = byId('timeline-legend');
  if (measured.time_ordered) {
    legend.append(legendEntry('--score', 'score'), legendEntry('--label', 'labelled anomalous'),
                  legendEntry('--limit', 'flagged (foot of the plot)'));
  } else {
    legend.append(legendEntry('--normal', 'normal'), legendEntry('--label', 'labelled anomalous'));
  }
  const stride = Math.max(...data.entities.map((entity) => entity.stride));
  const notes = ['Drag to zoom, double-click to see all.'];
  if (stride > 1) notes.push(`Up to ${count(stride)} adjacent ${data.unit}s are drawn as one; the highest and lowest are kept.`);
  if (data.entity_count > data.entities.length) {
    notes.push(`The first ${data.entities.length} of ${count(data.entity_count)} entities are drawn; the measures count all.`);
  }
  byId('readout').textContent = notes.join(' ');
  if (data.entities.length > 1) {
    byId('entity-choice').hidden = false;
    data.entities.forEach((entity, i) => byId('entity').append(new Option(entity.name || '(no name)', i)));
    byId('entity').addEventListener('change', (event) => {
      view.entity = Number(event.target.value);
      show(0, data.entities[view.entity].rows);
    });
  }
  byId('log').addEventListener('change', (event) => {
    view.log = event.target.checked;
    drawScores();
  });
  byId('all').addEventListener('click', () => show(0, data.entities[view.entity].rows));
  view.end = data.entities[0].rows;
}

// ---- curves

const unitAxis = (name) => ({low: 0, high: 1, log: false, name});

function drawRoc() {
  const plot = frame(byId('roc'), 260, unitAxis('false-positive rate'), unitAxis('recall'));
  const points = [[0, 0], ...data.curve];
  plot.root.append(svg('path', {class: 'reference', d: lineThrough([[0, 0], [1, 1]], plot.across, plot.up)}));
  if (!data.curve.length) return;
  plot.root.append(svg('path', {class: 'curve', d: lineThrough(points, plot.across, plot.up)}),
                   svg('circle', {class: 'operating', r: 5, cx: plot.across(measured.false_positive_rate),
                                  cy: plot.up(measured.recall_at_threshold)}));
}

function drawPrecision() {
  const plot = frame(byId('pr'), 260, unitAxis('recall'), unitAxis('precision'));
  const share = measured.anomalous_rows / measured.scored_rows;
  plot.root.append(svg('path', {class: 'reference', d: lineThrough([[0, share], [1, share]], plot.across, plot.up)}));
  if (!data.curve.length) return;
  plot.root.append(svg('path', {class: 'curve', d: lineThrough(data.curve.map(([, recall, precision]) => [recall, precision]),
                                                               plot.across, plot.up)}));
  if (measured.flagged_rows) {
    plot.root.append(svg('circle', {class: 'operating', r: 5, cx: plot.across(measured.recall_at_threshold),
                                    cy: plot.up(measured.precision_at_threshold)}));
  }
}

function drawCalibration() {
  const points = data.calibration.filter(([, share]) => share > 0);
  const least = Math.min(...data.calibration.map(([alpha]) => alpha), ...points.map(([, share]) => share), 0.1);
  const axis = (name) => ({low: least, high: 1, log: true, name});
  const plot = frame(byId('calibration'), 260, axis('promised rate'), axis('rate among normal rows'));
  plot.root.append(svg('path', {class: 'reference', d: lineThrough([[least, least], [1, 1]], plot.across, plot.up)}),
                   svg('path', {class: 'threshold', d: `M${plot.across(data.target)} ${plot.top}V${plot.bottom}`}),
                   svg('path', {class: 'curve', d: lineThrough(points, plot.across, plot.up)}));
}

function drawNotes() {
  const noCurve = data.curve.length ? '' : ' No curve: the labels hold one class only.';
  byId('roc-note').textContent = `AUROC ${fixed(measured.auroc)}. The dot is the threshold, the dashed line is chance.${noCurve}`;
  byId('pr-note').textContent =
      `Average precision ${fixed(measured.average_precision)}. The dot is the threshold, the dashed line is chance.${noCurve}`;
  byId('calibration-note').textContent =
      `On the dashed diagonal, normal rows are flagged as often as promised; above it more often, as where data has drifted. ` +
      `The red line is the threshold's rate, ${percent(data.target)}, of ${plural(data.samples, 'calibration row')}.`;
}

// ---- contributors and alarms

function drawLeads() {
  byId('leads-title').textContent = `What leads flagged ${data.unit}s`;
  if (!data.leads.length) {
    byId('leads').append(html('p', 'hint', `No ${data.unit} is flagged.`));
    return;
  }
  const most = Math.max(...data.leads.map(([, hits, misses]) => hits + misses));
  for (const [feature, hits, misses] of data.leads) {
    const name = html('span', 'name', feature);
    name.title = feature;
    const bar = html('span', 'bar');
    for (const [kind, rows] of [['true', hits], ['false', misses]]) {
      const part = html('span', kind);
      part.style.width = `${100 * rows / most}%`;
      bar.append(part);
    }
    byId('leads').append(html('div', 'lead', name, bar, html('span', 'count', count(hits + misses))));
  }
  byId('leads').append(html('p', 'legend', legendEntry('--score', 'labelled anomalous'),
                            legendEntry('--bar-soft', 'labelled normal: false alarms'),
                            `the feature with the largest share of the error, over all flagged ${data.unit}s`));
}

function drawAlarms() {
  if (!data.alarms.length) {
    byId('alarms').append(html('p', 'hint', `No ${data.unit} is flagged.`));
    return;
  }
  const named = data.alarms.some((alarm) => alarm.name), many = data.entity_count > 1;
  const head = html('tr', '', ...[many && 'entity', `${data.unit}s`, named && (measured.time_ordered ? 'peak at' : 'name'), 'peak score', 'p-value', 'label', 'because of']
                              .filter(Boolean).map((text) => html('th', '', text)));
  const number = (name, value) => {
    const cell = html('td', 'number', value);
    cell.dataset.name = name;  // shown where there is no room for the head
    return cell;
  };
  const body = html('tbody');
  for (const alarm of data.alarms) {
    const rows = alarm.last - alarm.first + 1;
    const label = alarm.anomalous ? html('span', 'mark hit', alarm.anomalous === rows ? 'anomaly' : 'partly anomaly')
                                  : html('span', 'mark', 'normal');
    const causes = alarm.causes.map(([feature, share, observed, expected]) => html('span', 'cause', `${feature} ${percent(share)} `,
        html('small', '', `${short(observed)} instead of ${short(expected)}`)));
    body.append(html('tr', '', ...[
      many && html('td', '', alarm.entity),
      number(rows > 1 ? `${data.unit}s` : data.unit, rows > 1 ? `${count(alarm.first)}–${count(alarm.last)}` : count(alarm.first)),
      named && html('td', '', alarm.name),
      number('score', short(alarm.score)), number('p', short(alarm.p)), html('td', '', label),
      html('td', '', ...causes)].filter(Boolean)));
  }
  byId('alarms').append(html('table', '', html('thead', '', head), body));
}

function drawFooter() {
  const terms = [
    ['score', 'error over the threshold; above 1 is flagged'],
    ['p-value', 'how often normal rows of the calibration have an error this large'],
    ['share', 'a feature’s part of the error; observed and expected value in the data’s own units'],
  ];
  if (measured.time_ordered) {
    terms.push(['VUS-PR', 'volume under the precision-recall surface (Paparrizos et al., PVLDB 15(11), 2022), over buffers up to the dominant period'],
               ['delay', 'rows from the first of a labelled range to its first flagged one, of ranges that are found']);
  }
  byId('footer').append(html('dl', '', ...terms.flatMap(([term, text]) => [html('dt', '', term), html('dd', '', text)])),
                        `astray ${data.program}, calibration ${data.epoch}, threshold ${short(measured.threshold)}`);
}

function drawAll() {
  drawScores();
  drawRoc();
  drawPrecision();
  drawCalibration();
}

drawHeader();
drawTimeline();
drawNotes();
drawLeads();
drawAlarms();
drawFooter();
drawAll();
let width = document.body.clientWidth;
window.addEventListener('resize', () => {
  if (document.body.clientWidth === width) return;
  width = document.body.clientWidth;
  drawAll();
});
