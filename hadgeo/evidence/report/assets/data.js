"use strict";

/* What the page was made from, and small helpers. Texts from files become text nodes alone, never markup. */

const DATA = JSON.parse(document.getElementById("data").textContent);
document.getElementById("data").remove();
const LINES = DATA.lines;
const SEVERAL = LINES.length > 1;

const ANOMALIES = LINES.flatMap((line, lineIndex) =>
  line.features.map((feature, index) => ({
    line,
    lineIndex,
    index,
    id: feature.properties.id,
    key: `${lineIndex}:${feature.properties.id}`,
    properties: feature.properties,
    outlines: line.outlines[index],
    kind: kindOf(line, feature.properties, index),
    charted: index < line.chips.frames.length,
  })),
);

/** What an anomaly is filtered by: a class that the layer names, else the part with the largest share. */
function kindOf(line, properties, index) {
  if (typeof properties.class === "string") return properties.class;
  const shares = line.evidence.shares && line.evidence.shares[index];
  if (shares) return line.evidence.parts[shares.indexOf(Math.max(...shares))];
  return typeof properties.parts === "string" ? properties.parts.split(" ")[0].replace(/,$/, "") : "";
}

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a function among the attributes listens to the event of its name. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A probability or a count that may be tiny. */
function rare(value) {
  if (typeof value !== "number") return "–";
  if (value === 0 || (value >= 0.001 && value < 10000)) return String(Number(value.toPrecision(3)));
  const [mantissa, exponent] = value.toExponential(1).split("e");
  const digits = String(Math.abs(Number(exponent))).replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
  return `${mantissa}·10${exponent.startsWith("-") ? "⁻" : ""}${digits}`;
}

const number = (value, digits = 4) =>
  typeof value === "number" ? Number(value.toPrecision(digits)).toLocaleString("en") : "–";
const whole = (value) => (typeof value === "number" ? value.toLocaleString("en") : "–");
const many = (count, one, more = `${one}s`) => `${whole(count)} ${count === 1 ? one : more}`;

/** Where an anomaly is, as well as it is known. */
function placeOf({ properties: p }) {
  if (typeof p.lat === "number" && typeof p.lon === "number") return `${p.lat.toFixed(5)}°, ${p.lon.toFixed(5)}°`;
  return typeof p.peak_row === "number" ? `row ${Math.round(p.peak_row)}, column ${Math.round(p.peak_col)}` : "–";
}

/** Colours of what is drawn on a canvas, which style sheets do not reach. */
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
let printing = false;
const palette = () =>
  DARK.matches && !printing
    ? { text: "#c9d1d9", grid: "#30363d", measured: "#ff8f7a", expected: "#6cb6ff", usual: "rgba(108,182,255,.22)", mark: "#e3b341", bars: "#6e7f92", tail: "#ff8f7a", cut: "#e3b341" }
    : { text: "#3d444d", grid: "#e4e7eb", measured: "#b2182b", expected: "#2166ac", usual: "rgba(33,102,172,.18)", mark: "#9a6700", bars: "#8c98a5", tail: "#b2182b", cut: "#9a6700" };
