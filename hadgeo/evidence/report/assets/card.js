"use strict";

/* Everything about one anomaly. */

const VERDICT_SIGNS = { accepted: "✓", rejected: "✕", unsure: "?" };

const sheets = new Map();

/** The picture of a sheet of chips, decoded once. */
function sheetImage(src) {
  if (!sheets.has(src)) {
    const image = new Image();
    image.src = src;
    sheets.set(src, image.decode().then(() => image));
  }
  return sheets.get(src);
}

/** The chip of an anomaly, its outline around it. Settles when it is drawn. */
function drawChip(anomaly, sheet, waiting) {
  const { side, frames, outlined } = anomaly.line.chips;
  const [row, col, step] = frames[anomaly.index];
  const scale = 5;
  const canvas = make("canvas", { width: side * scale, height: side * scale, role: "img", "aria-label": `${sheet.label}, around anomaly ${anomaly.id}` });
  waiting.push(
    sheetImage(sheet.src).then((image) => {
      const context = canvas.getContext("2d");
      const columns = image.width / side;
      const [x, y] = [(anomaly.index % columns) * side, Math.floor(anomaly.index / columns) * side];
      context.imageSmoothingEnabled = false;
      context.drawImage(image, x, y, side, side, 0, 0, side * scale, side * scale);
      if (outlined) {
        const path = new Path2D();
        for (const ring of anomaly.outlines) {
          for (let i = 0; i < ring.length; i += 2) {
            const point = [((ring[i] - col) / step) * scale, ((ring[i + 1] - row) / step) * scale];
            if (i) path.lineTo(...point);
            else path.moveTo(...point);
          }
          path.closePath();
        }
        for (const [colour, width] of [["rgba(0,0,0,.55)", 3], ["#fff", 1.2]]) {
          context.strokeStyle = colour;
          context.lineWidth = width;
          context.stroke(path);
        }
      }
    }),
  );
  return make("figure", {}, canvas, make("figcaption", {}, sheet.label + (step > 1 ? `, every ${step}th pixel` : "")));
}

function partsOf(anomaly) {
  const { shares, parts } = anomaly.line.evidence;
  if (!shares) return null;
  const own = shares[anomaly.index].map((share, i) => [parts[i], share ?? 0]).sort((one, other) => other[1] - one[1]);
  return make(
    "table",
    { class: "parts" },
    make("caption", {}, "What made it stand out: shares in the score"),
    make(
      "tbody",
      {},
      ...own.map(([name, share]) => {
        const bar = make("meter", { min: 0, max: 1, value: share, "aria-hidden": "true" });
        return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, bar), make("td", {}, `${Math.round(100 * share)} %`));
      }),
    ),
  );
}

/** The bands that stand out, in words. */
function bandsOf(anomaly) {
  const { top, position, unit } = anomaly.line.evidence;
  const told = top[anomaly.index].map(([band, sigma]) => {
    const name = unit === "nm" ? `${Math.round(position[band])} nm` : `band ${position[band]}`;
    return `${name} (${sigma > 0 ? "+" : "−"}${Math.abs(sigma)} σ)`;
  });
  return told.length ? make("p", { class: "bands" }, make("b", {}, "Stands out at "), told.join(", ")) : null;
}

const FACTS = [
  ["p-value", (p) => rare(p.p_value), "share of background objects that are as strong"],
  ["peak p-value", (p) => rare(p.peak_p_value), "share of background pixels that reach its largest score"],
  ["expected false alarms", (p) => rare(p.expected_false_alarms), "as strong as this one, in such a scene"],
  ["largest score", (p) => number(p.max_score, 5), ""],
  ["mean score", (p) => number(p.mean_score, 5), ""],
  ["pixels", (p) => whole(p.pixels), ""],
  ["area", (p) => (typeof p.area_m2 === "number" ? `${number(p.area_m2)} m²` : typeof p.area === "number" ? number(p.area) : "–"), ""],
];

const pixelOf = (p) => `${p.peak_row.toFixed(1)}, ${p.peak_col.toFixed(1)}`;

function factsOf(anomaly) {
  const { properties: p, line } = anomaly;
  const list = make("dl", { class: "facts" });
  const add = (name, value, title) => list.append(make("div", { title: title || null }, make("dt", {}, name), make("dd", {}, value)));
  for (const [name, value, title] of FACTS) if (value(p) !== "–") add(name, value(p), title);
  add(line.onEarth ? "latitude, longitude" : "place", placeOf(anomaly));
  if (typeof p.peak_x === "number" && line.crs) add("largest score at", `${number(p.peak_x, 9)}, ${number(p.peak_y, 9)}`, line.crs);
  if (typeof p.peak_row === "number") add("row, column", pixelOf(p), "of the largest score, from 0");
  return list;
}

/**
 * All about an anomaly. `waiting` receives what must settle before it is complete.
 * With `still`, for print: no buttons.
 */
function drawCard(home, anomaly, waiting, still = false) {
  const review = Review.of(anomaly);
  const heading = make(still ? "h3" : "h2", {}, `Anomaly ${anomaly.id}`);
  if (SEVERAL) heading.append(make("small", {}, ` ${anomaly.line.name}`));
  if (still) {
    const told = [review.verdict, review.reviewer && `by ${review.reviewer}`, review.reviewed_at].filter(Boolean);
    home.append(heading, make("p", {}, told.length ? told.join(", ") : "not looked at", review.note ? `: ${review.note}` : ""));
  } else home.append(make("div", { class: "card-head" }, heading, verdictButtons(anomaly)), noteOf(anomaly));
  if (!anomaly.charted) {
    home.append(make("p", { class: "hint" }, `Only the ${whole(anomaly.line.chips.frames.length)} rarest anomalies have pictures and spectra in this page.`), factsOf(anomaly));
    return;
  }
  const plot = make("div", { class: "plot", role: "img", "aria-label": `Spectrum of anomaly ${anomaly.id}: measured and expected` });
  const { sheets: kinds } = anomaly.line.chips;
  home.append(
    make("div", { class: "chips" }, ...kinds.map((sheet) => drawChip(anomaly, sheet, waiting))),
    make("div", { class: "spectrum" }, plot),
  );
  home.append(make("p", { class: "on-paper" }, "Red: measured; blue: expected background, shaded its usual spread; dashed: the bands that stand out."));
  const bands = bandsOf(anomaly);
  if (bands) home.append(bands);
  home.append(make("div", { class: "numbers" }, factsOf(anomaly), partsOf(anomaly) || ""));
  drawSpectrum(plot, anomaly, Math.max(280, Math.min(plot.clientWidth || 640, 1100)), still ? 165 : 230);
}

function verdictButtons(anomaly) {
  const { verdict } = Review.of(anomaly);
  const button = (name, told, key) =>
    make(
      "button",
      { type: "button", class: name, "aria-pressed": String(verdict === name), "aria-keyshortcuts": key, click: () => Page.judge(name) },
      make("span", { "aria-hidden": "true" }, `${VERDICT_SIGNS[name]} `),
      told,
    );
  return make("div", { class: "verdicts", role: "group", "aria-label": `Verdict on anomaly ${anomaly.id}` }, button("accepted", "Accept", "a"), button("rejected", "Reject", "r"), button("unsure", "Unsure", "u"));
}

function noteOf(anomaly) {
  const review = Review.of(anomaly);
  const note = make("textarea", { id: "note", rows: 1, maxlength: 2000, placeholder: "n: a note", change: (event) => Page.annotate(anomaly, event.target.value) });
  note.value = review.note || "";
  const by = [review.reviewer, review.reviewed_at && review.reviewed_at.replace("T", " ").replace("Z", " UTC")].filter(Boolean).join(", ");
  return make("div", { class: "note" }, make("label", { for: "note" }, "Note"), note, make("small", {}, by));
}
