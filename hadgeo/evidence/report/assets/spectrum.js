"use strict";

/* Charts: the spectrum of an anomaly, and the scores of a map. */

const axis = (label, colours, more = {}) => ({
  label,
  stroke: colours.text,
  grid: { stroke: colours.grid, width: 1 },
  ticks: { stroke: colours.grid, width: 1 },
  font: "12px system-ui, sans-serif",
  labelFont: "12px system-ui, sans-serif",
  labelSize: 18,
  ...more,
});

/** Put a null before each gap, so that no line is drawn across. */
function withGaps(values, gaps, filler = () => null) {
  const out = [...values];
  for (const at of [...gaps].reverse()) out.splice(at, 0, filler(at));
  return out;
}

const sum = (one, other) => one.map((value, i) => (value == null || other[i] == null ? null : value + other[i]));
const negated = (values) => values.map((value) => (value == null ? null : -value));

/** Draw measured and expected spectrum, the usual spread, and marks at the bands that stand out. */
function drawSpectrum(home, anomaly, width, height) {
  const colours = palette();
  const evidence = anomaly.line.evidence;
  const { position, gaps, unit } = evidence;
  const [measured, expected, spread] = ["spectrum", "expected", "spread"].map((name) => evidence[name][anomaly.index]);
  const middle = (at) => (position[at - 1] + position[at]) / 2;
  const order = position.map((_, i) => i).sort((i, j) => position[i] - position[j]);
  const rising = order.every((i, n) => i === n);
  const columns = [position, sum(expected, spread), sum(expected, negated(spread)), expected, measured];
  const data = rising
    ? [withGaps(columns[0], gaps, middle), ...columns.slice(1).map((column) => withGaps(column, gaps))]
    : columns.map((column) => order.map((i) => column[i]));
  const shown = (_, value) => (value == null ? "–" : number(value));
  const marks = evidence.top[anomaly.index].map(([band]) => position[band]);
  return new uPlot(
    {
      width,
      height,
      scales: { x: { time: false } },
      cursor: { drag: { x: true, y: false }, points: { size: 6 } },
      legend: { live: true },
      axes: [
        axis(unit === "nm" ? "wavelength (nm)" : "band", colours, { size: 42 }),
        axis(evidence.quantity, colours, { size: 64, values: (_, splits) => splits.map((v) => number(v)) }),
      ],
      series: [
        { label: unit === "nm" ? "nm" : "band", value: shown },
        { label: "usual to", stroke: "transparent", points: { show: false }, value: shown },
        { label: "usual from", stroke: "transparent", points: { show: false }, value: shown },
        { label: evidence.detector ? `expected by ${evidence.detector}` : "expected (median around)", stroke: colours.expected, width: 1.5, points: { show: false }, value: shown },
        { label: "measured", stroke: colours.measured, width: 2, points: { show: false }, value: shown },
      ],
      bands: [{ series: [1, 2], fill: colours.usual }],
      hooks: { drawClear: [(plot) => verticals(plot, marks, colours.mark, [3, 3])] },
    },
    data,
    home,
  );
}

/** Lines at some positions, with a word beside them. */
function verticals(plot, positions, colour, dash = [], word = "") {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
  for (const position of positions) {
    const x = Math.round(plot.valToPos(position, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.fillStyle = colour;
    ctx.textAlign = x > bbox.left + bbox.width / 2 ? "right" : "left";
    ctx.fillText(word, x + (ctx.textAlign === "right" ? -5 : 5) * devicePixelRatio, bbox.top + 13 * devicePixelRatio);
  }
  ctx.restore();
}

/** Draw how many pixels have which score, what the fitted tail says of them, and where the map was cut. */
function drawHistogram(home, figures, width, height) {
  const colours = palette();
  const { edges, counts, modelled, threshold } = figures;
  // The last edge closes the last step.
  const steps = (values) => [...values, values.at(-1)].map((value) => (value > 0 ? value : null));
  const logarithmic = edges[0] > 0 && edges.at(-1) / edges[0] > 50;
  const shown = (_, value) => (value == null ? "–" : number(value, 3));
  return new uPlot(
    {
      width,
      height,
      scales: { x: { time: false, distr: logarithmic ? 3 : 1 }, y: { distr: 3, range: (_, low, high) => [Math.max(0.3, low / 2), high * 2] } },
      cursor: { drag: { x: true, y: false } },
      axes: [
        axis("score", colours, { size: 42 }),
        axis("pixels in a bin", colours, { size: 64, values: (_, splits) => splits.map((v) => (Number.isInteger(Math.log10(v)) ? rare(v) : "")) }),
      ],
      series: [
        { label: "score from", value: shown },
        { label: "pixels", stroke: colours.bars, fill: `${colours.bars}66`, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, value: shown },
        { label: "fitted tail", stroke: colours.tail, width: 2, points: { show: false }, value: shown },
      ],
      hooks: { draw: [(plot) => threshold != null && verticals(plot, [threshold], colours.cut, [], "threshold")] },
    },
    [edges, steps(counts), steps(modelled)],
    home,
  );
}
