// The score over rows, to zoom into.

const view = {
  entity: 0,
  first: 0,
  end: 1,
  log: true
};  // rows [first, end) of the entity

// What is drawn as a line, the one on top last: values a column.
function linesOf(entity) {
  const lines = [{name: 'score', highest: entity.high, lowest: entity.low || entity.high}];
  const later = entity.hindsight_high;
  if (later) lines.push({name: 'later', highest: later, lowest: entity.hindsight_low || later});
  return lines;
}

function scoreBounds(entity) {
  let low = Infinity, high = 1;
  for (const {highest, lowest} of linesOf(entity)) {
    for (const value of lowest)
      if (value !== null && value > 0) low = Math.min(low, value);
    for (const value of highest)
      if (value !== null) high = Math.max(high, value);
  }
  if (!view.log) return {low: 0, high: high * 1.05, log: false, name: 'score'};
  low = Math.min(0.5, Math.max(low, 1e-4));
  return {low, high: Math.max(high * 1.3, 2), log: true, name: 'score'};
}

// The highest and lowest score of each pixel's columns.
function scorePath(entity, {highest, lowest}, plot) {
  const firstColumn = Math.floor(view.first / entity.stride), endColumn = Math.ceil(view.end / entity.stride);
  const perStep = Math.max(1, (endColumn - firstColumn) / Math.max(1, plot.right - plot.left));
  let path = '', drawing = false;
  for (let at = firstColumn; at < endColumn; at += perStep) {
    let high = -Infinity, low = Infinity;
    for (let c = Math.floor(at); c < Math.min(endColumn, Math.floor(at + perStep)); ++c) {
      if (highest[c] === null) continue;
      high = Math.max(high, highest[c]);
      low = Math.min(low, lowest[c]);
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
  const plot = frame(
      byId('score-plot'), 340, {low: view.first + 0.5, high: view.end + 0.5, name: data.unit}, scoreBounds(entity));
  plot.root.setAttribute('aria-label', `score of each ${data.unit}`);
  const ranges = svg('g', {class: 'ranges'});
  for (const [first, end] of entity.ranges) {
    if (end <= view.first || first >= view.end) continue;
    const from = plot.across(Math.max(first, view.first) + 0.5), to = plot.across(Math.min(end, view.end) + 0.5);
    ranges.append(
        svg('rect',
            {class: 'range', x: from, y: plot.top, width: Math.max(1.5, to - from), height: plot.bottom - plot.top}));
  }
  plot.root.append(ranges);
  if (entity.anomalous) {
    // Where a column's highest is its highest anomalous row, the dot on top says so.
    plot.root.append(
        svg('path', {class: 'dots normal', d: dotsPath(entity, entity.high, plot)}),
        svg('path', {class: 'dots anomalous', d: dotsPath(entity, entity.anomalous, plot)}));
  } else {
    for (const line of linesOf(entity)) {
      const d = scorePath(entity, line, plot);
      if (line.name === 'later') plot.root.append(svg('path', {class: 'later-edge', d}));
      plot.root.append(svg('path', {class: line.name, d}));
    }
    plot.root.append(flagRects(entity, plot));
  }
  plot.root.append(
      svg('path', {class: 'threshold', d: `M${plot.left} ${plot.up(1)}H${plot.right}`}),
      svg('text', {class: 'threshold-name', x: plot.right, y: plot.up(1) - 5, 'text-anchor': 'end'}, 'threshold'));
  if (entity.names && measured.time_ordered) {
    const ends = [[view.first, plot.left, 'start'], [view.end - 1, plot.right, 'end']];
    for (const [row, x, anchor] of ends) {
      plot.root.append(
          svg('text', {class: 'time', x, y: plot.bottom + 34, 'text-anchor': anchor},
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
  const labelled =
      entity.anomalous ? entity.anomalous[column] !== null : entity.ranges.some(([a, b]) => a < last && b > first);
  const rows = last - first > 1 ? `${data.unit}s ${count(first + 1)}–${count(last)}, highest` :
                                  `${data.unit} ${count(first + 1)}`;
  const name = entity.names && entity.names[column] ? ` · ${entity.names[column]}` : '';
  const said = (value) => `${short(value)}${value > 1 ? ', flagged' : ''}`;
  const verdict = score === null ? 'no score' : `score ${said(score)}`;
  const later = entity.hindsight_high ? entity.hindsight_high[column] : null;
  const hindsight = later === null ? '' : ` · in hindsight ${said(later)}`;
  return `${rows}${name} · ${verdict}${hindsight}${labelled ? ' · labelled anomalous' : ''}`;
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
  plot.root.addEventListener('pointercancel', () => {
    pressed = null;
  });
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

// Of lines: they look as they do in the plot.
const lineEntry = (line, text) => html('span', '', html('i', `line ${line}`), text);

function drawTimeline() {
  byId('timeline-title').textContent = measured.time_ordered ? 'Score over time' : `Score of each ${data.unit}`;
  const legend = byId('timeline-legend');
  if (measured.time_ordered) {
    legend.append(data.hindsight ? lineEntry('score', 'score as rows come') : legendEntry('--score', 'score'));
    if (data.hindsight) legend.append(lineEntry('later', 'score in hindsight'));
    legend.append(
        legendEntry('--label', 'labelled anomalous'),
        legendEntry('--limit', 'flagged (foot of the plot)'));
  } else {
    legend.append(legendEntry('--normal', 'normal'), legendEntry('--label', 'labelled anomalous'));
  }
  const stride = Math.max(...data.entities.map((entity) => entity.stride));
  const notes = ['Drag to zoom, double-click to see all.'];
  if (stride > 1)
    notes.push(`Up to ${count(stride)} adjacent ${data.unit}s are drawn as one; the highest and lowest are kept.`);
  if (data.entity_count > data.entities.length) {
    notes.push(
        `The first ${data.entities.length} of ${count(data.entity_count)} entities are drawn; the measures count all.`);
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
