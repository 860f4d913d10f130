// Everything on the page but the score over rows.

// ---- header and measures

// later: the same in hindsight; nothing where there is none.
function measure(id, name, value, more, later) {
  const tile = html('div', 'measure', html('div', 'name', name), html('div', 'value', value));
  if (later !== undefined) tile.append(html('div', 'later', 'in hindsight ', html('strong', '', later)));
  tile.append(html('div', 'more', more || ''));
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
  const later = measured.hindsight;
  const both = (id, name, field, more) =>
      measure(id, name, fixed(measured[field]), more, later ? fixed(later[field]) : undefined);
  both('auroc', 'AUROC', 'auroc', 'ranking; .5 is chance');
  both(
      'average-precision', 'Average precision', 'average_precision',
      `chance is ${fixed(measured.anomalous_rows / measured.scored_rows)}`);
  if (measured.time_ordered) {
    both('vus-pr', 'VUS-PR', 'vus_pr', `by ranges, window of ${plural(measured.vus_pr_window, 'row')}`);
  }
  const found = ({precision_at_threshold, recall_at_threshold}) =>
      `precision ${fixed(precision_at_threshold)}, recall ${fixed(recall_at_threshold)}`;
  both(
      'f1', 'F1 at the threshold', 'f1_at_threshold',
      later ? `${found(measured)}; in hindsight ${found(later)}` : found(measured));
  both('best-f1', 'Best F1', 'best_f1', 'at the best of all thresholds');
  const target = later && data.hindsight.target !== data.target ? `, in hindsight for ${data.hindsight.target}` : '';
  both('false-positive-rate', 'False-positive rate', 'false_positive_rate', `calibrated for ${data.target}${target}`);
  byId('hindsight-note').hidden = !later;
  if (measured.time_ordered) {
    const detected = measured.ranges_detected;
    measure(
        'ranges', 'Ranges found', `${count(detected)} of ${count(measured.ranges)}`,
        detected ? `after ${plural(measured.detection_delay_rows_median, 'row')}, median; ` +
                `${Number(measured.detection_delay_rows_mean.toFixed(1))} on average` :
                   '');
  }
}

// ---- curves

const unitAxis = (name) => ({low: 0, high: 1, log: false, name});

// The one on top last.
const rankings = [{line: 'curve', curve: data.curve, of: measured}];
if (data.hindsight) rankings.push({line: 'curve later', curve: data.hindsight.curve, of: measured.hindsight});

// Curves with a dot at their thresholds. start: points before the first; pointOf: what a threshold gives -> [x, y].
function drawRankings(plot, start, pointOf) {
  for (const {line, curve, of} of rankings) {
    if (!curve.length) continue;
    const points = [...start, ...curve.map((point) => pointOf(...point))];
    const precision = of.flagged_rows ? of.precision_at_threshold : NaN;
    const [x, y] = pointOf(of.false_positive_rate, of.recall_at_threshold, precision);
    plot.root.append(svg('path', {class: line, d: lineThrough(points, plot.across, plot.up)}));
    if (Number.isNaN(y)) continue;
    const dot = line.replace('curve', 'operating');
    plot.root.append(svg('circle', {class: dot, r: 5, cx: plot.across(x), cy: plot.up(y)}));
  }
}

function drawRoc() {
  const plot = frame(byId('roc'), 260, unitAxis('false-positive rate'), unitAxis('recall'));
  plot.root.append(svg('path', {class: 'reference', d: lineThrough([[0, 0], [1, 1]], plot.across, plot.up)}));
  drawRankings(plot, [[0, 0]], (rate, recall) => [rate, recall]);
}

function drawPrecision() {
  const plot = frame(byId('pr'), 260, unitAxis('recall'), unitAxis('precision'));
  const share = measured.anomalous_rows / measured.scored_rows;
  plot.root.append(svg('path', {class: 'reference', d: lineThrough([[0, share], [1, share]], plot.across, plot.up)}));
  drawRankings(plot, [], (rate, recall, precision) => [recall, precision]);
}

function drawCalibration() {
  const points = data.calibration.filter(([, share]) => share > 0);
  const least = Math.min(...data.calibration.map(([alpha]) => alpha), ...points.map(([, share]) => share), 0.1);
  const axis = (name) => ({low: least, high: 1, log: true, name});
  const plot = frame(byId('calibration'), 260, axis('promised rate'), axis('rate among normal rows'));
  plot.root.append(
      svg('path', {class: 'reference', d: lineThrough([[least, least], [1, 1]], plot.across, plot.up)}),
      svg('path', {class: 'threshold', d: `M${plot.across(data.target)} ${plot.top}V${plot.bottom}`}),
      svg('path', {class: 'curve', d: lineThrough(points, plot.across, plot.up)}));
}

function drawNotes() {
  const noCurve = data.curve.length ? '' : ' No curve: the labels hold one class only.';
  const later = measured.hindsight;
  const dots = later ? 'The dots are the thresholds' : 'The dot is the threshold';
  for (const [plot, name, field] of [['roc', 'AUROC', 'auroc'], ['pr', 'Average precision', 'average_precision']]) {
    const note = byId(`${plot}-note`);
    note.textContent = `${name} ${fixed(measured[field])}${later ? `, in hindsight ${fixed(later[field])}` : ''}. ` +
        `${dots}, the dashed line is chance.${noCurve}`;
    if (later) note.before(html('p', 'legend', lineEntry('curve', 'as rows come'), lineEntry('later', 'in hindsight')));
  }
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
  byId('leads').append(html(
      'p', 'legend', legendEntry('--score', 'labelled anomalous'),
      legendEntry('--bar-soft', 'labelled normal: false alarms'),
      `the feature with the largest share of the error, over all flagged ${data.unit}s`));
}

function drawAlarms() {
  if (!data.alarms.length) {
    byId('alarms').append(html('p', 'hint', `No ${data.unit} is flagged.`));
    return;
  }
  const named = data.alarms.some((alarm) => alarm.name), many = data.entity_count > 1;
  const head = html(
      'tr', '',
      ...[many && 'entity', `${data.unit}s`, named && (measured.time_ordered ? 'peak at' : 'name'), 'peak score',
          'p-value', 'label', 'because of']
          .filter(Boolean)
          .map((text) => html('th', '', text)));
  const number = (name, value) => {
    const cell = html('td', 'number', value);
    cell.dataset.name = name;  // shown where there is no room for the head
    return cell;
  };
  const body = html('tbody');
  for (const alarm of data.alarms) {
    const rows = alarm.last - alarm.first + 1;
    const label = alarm.anomalous ? html('span', 'mark hit', alarm.anomalous === rows ? 'anomaly' : 'partly anomaly') :
                                    html('span', 'mark', 'normal');
    const instead = alarm.by_t_squared ? ', normally about' : ' instead of';
    const causes = alarm.causes.map(
        ([feature, share, observed, expected]) => html(
            'span', 'cause', `${feature} ${percent(share)} `,
            html('small', '', `${short(observed)}${instead} ${short(expected)}`)));
    if (alarm.by_t_squared) causes.push(html('span', 'mark', 'level (T²)'));
    body.append(html(
        'tr', '',
        ...[many && html('td', '', alarm.entity),
            number(
                rows > 1 ? `${data.unit}s` : data.unit,
                rows > 1 ? `${count(alarm.first)}–${count(alarm.last)}` : count(alarm.first)),
            named && html('td', '', alarm.name), number('score', short(alarm.score)), number('p', short(alarm.p)),
            html('td', '', label), html('td', '', ...causes)]
            .filter(Boolean)));
  }
  byId('alarms').append(html('table', '', html('thead', '', head), body));
}

function drawFooter() {
  const terms = [
    ['score', 'error over the threshold; above 1 is flagged'],
    ['p-value', 'how often normal rows of the calibration have an error this large'],
    ['share', 'a feature’s part of the error; observed and expected value in the data’s own units'],
  ];
  if (data.alarms.some((alarm) => alarm.by_t_squared)) {
    terms.push([
      'level (T²)',
      'the newest readings themselves lie beyond nearly all normal ones, even where they fit each other; beside them stand their normal means'
    ]);
  }
  if (measured.time_ordered) {
    terms.push(
        [
          'VUS-PR',
          'volume under the precision-recall surface (Paparrizos et al., PVLDB 15(11), 2022), over buffers up to the dominant period'
        ],
        ['delay', 'rows from the first of a labelled range to its first flagged one, of ranges that are found']);
  }
  byId('footer').append(
      html('dl', '', ...terms.flatMap(([term, text]) => [html('dt', '', term), html('dd', '', text)])),
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
