"use strict";

/* Verdicts: kept in the browser by the hashes of map and layer, saved as GeoJSON or CSV, and loaded again. */

const VERDICTS = ["accepted", "rejected", "unsure"];
const REVIEW_FIELDS = ["verdict", "note", "reviewer", "reviewed_at"];

const Review = {
  kept: new Map(),
  listeners: [],
  stored: true,

  /** What is kept of an anomaly; null where nothing is known. */
  of(anomaly) {
    return this.kept.get(anomaly.key) || { verdict: null, note: null, reviewer: null, reviewed_at: null };
  },

  /** Change the verdict or the note of an anomaly, by the reviewer who is named in the page, now. */
  change(anomaly, changed) {
    const now = new Date().toISOString().slice(0, 19) + "Z";
    const next = { ...this.of(anomaly), ...changed, reviewer: byId("reviewer").value.trim() || null, reviewed_at: now };
    this.put(anomaly, next);
    this.store(anomaly.lineIndex);
    this.tell();
  },

  put(anomaly, review) {
    // One that was taken back is remembered, so that the layer's own does not come back.
    if (review.verdict || review.note || review.reviewed_at) this.kept.set(anomaly.key, review);
    else this.kept.delete(anomaly.key);
  },

  tell() {
    for (const listener of this.listeners) listener();
  },

  name: (line) => `hadgeo-review:${line.mapSha256}:${line.layerSha256}`,

  store(lineIndex) {
    const own = ANOMALIES.filter((anomaly) => anomaly.lineIndex === lineIndex && this.kept.has(anomaly.key));
    const review = Object.fromEntries(own.map((anomaly) => [anomaly.id, this.of(anomaly)]));
    try {
      localStorage.setItem(this.name(LINES[lineIndex]), JSON.stringify(review));
    } catch {
      this.stored = false;
    }
  },

  /** What the layer brings along or this browser keeps, whichever is newer. */
  restore() {
    this.kept.clear();
    const stored = LINES.map((line) => {
      try {
        return JSON.parse(localStorage.getItem(this.name(line))) || null;
      } catch {
        this.stored = false;
        return null;
      }
    });
    for (const anomaly of ANOMALIES) {
      const [own, layer] = [stored[anomaly.lineIndex]?.[anomaly.id] || {}, anomaly.properties].map(reviewFrom);
      const newer = own && (own.reviewed_at || "") >= (layer?.reviewed_at || "") && (own.verdict || own.note || own.reviewed_at);
      if (newer || layer) this.put(anomaly, newer ? own : layer);
    }
    this.tell();
  },

  counts() {
    const counts = { accepted: 0, rejected: 0, unsure: 0 };
    for (const review of this.kept.values()) if (review.verdict) counts[review.verdict] += 1;
    return counts;
  },
};

/** The four fields of a row, or null where its verdict is none that is known. */
function reviewFrom(row) {
  const told = Object.fromEntries(
    REVIEW_FIELDS.map((field) => [field, typeof row[field] === "string" && row[field] !== "" ? row[field] : null]),
  );
  return told.verdict && !VERDICTS.includes(told.verdict) ? null : told;
}

/** The layer with the verdicts in its fields, as GeoJSON. */
function asGeoJSON() {
  const features = ANOMALIES.map((anomaly) => ({
    ...anomaly.line.features[anomaly.index],
    properties: {
      ...(SEVERAL ? { line: anomaly.line.name } : {}),
      ...Object.fromEntries(Object.entries(anomaly.properties).filter(([name]) => !REVIEW_FIELDS.includes(name))),
      map_sha256: anomaly.line.mapSha256,
      ...Review.of(anomaly),
    },
  }));
  return JSON.stringify({ type: "FeatureCollection", name: "anomalies", features });
}

const csvCell = (value) => {
  const text = value == null ? "" : String(value);
  const safe = isFormula(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Whether spreadsheets would compute a cell; those get a quote before them, which is taken away when they are read. */
const isFormula = (text) =>
  /^(\s*[=+\-@＝＋－＠]|[\t\r\n|%])/.test(text) && !/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text);
const cellText = (cell = "") => (cell.startsWith("'") && isFormula(cell.slice(1)) ? cell.slice(1) : cell);

/** The verdicts alone, one row for each anomaly; map and peak tell which anomaly it is, and thresholds need its score. */
function asCSV() {
  const names = [...(SEVERAL ? ["line"] : []), "id", ...REVIEW_FIELDS, "map_sha256", "peak_row", "peak_col", "max_score"];
  const rows = ANOMALIES.map((anomaly) => {
    const own = { ...anomaly.properties, ...Review.of(anomaly), line: anomaly.line.name, map_sha256: anomaly.line.mapSha256 };
    return names.map((name) => own[name]);
  });
  return [names, ...rows].map((row) => row.map(csvCell).join(",") + "\r\n").join("");
}

/** Rows of a CSV text by the names in its first line (RFC 4180); spreadsheets separate by semicolons or tabs, too. */
function parseCSV(text) {
  const rows = [[]];
  let match;
  text = text.replace(/^\uFEFF/, "");
  const heading = text.split("\n", 1)[0];
  const [separator] = [",", ";", "\t"].sort((one, other) => heading.split(other).length - heading.split(one).length);
  const cells = new RegExp(`(?:"((?:[^"]|"")*)"|([^"${separator}\\r\\n]*))(${separator}|\\r?\\n|$)`, "y");
  while (cells.lastIndex < text.length && (match = cells.exec(text))) {
    rows.at(-1).push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
    if (match[3] === separator) {
      if (cells.lastIndex === text.length) rows.at(-1).push("");
    } else rows.push([]);
  }
  if (cells.lastIndex < text.length && !match) throw new Error("it is no CSV table");
  const [names, ...table] = rows.filter((row) => row.length);
  if (!names || !names.includes("id") || !names.includes("verdict")) {
    throw new Error("it has no columns id and verdict");
  }
  return table.map((row) => Object.fromEntries(names.map((name, i) => [name, cellText(row[i])])));
}

function parseGeoJSON(text) {
  const layer = JSON.parse(text);
  if (!layer || !Array.isArray(layer.features)) throw new Error("it is no GeoJSON layer");
  return layer.features.map(({ properties }) => properties || {});
}

/**
 * Take the verdicts of a file over, all of them or none.
 * Returns how many; throws an Error that says why not.
 */
function load(text, name) {
  let rows;
  try {
    rows = /^\s*\{/.test(text) ? parseGeoJSON(text) : parseCSV(text);
  } catch (error) {
    throw new Error(`${name}: ${error instanceof SyntaxError ? "it is damaged" : error.message}`, { cause: error });
  }
  const taken = rows.map((row) => [anomalyOf(row, name), reviewFrom(row), row]);
  for (const [, review, row] of taken) {
    if (!review) throw new Error(`${name}: ${row.verdict} is no verdict; known are ${VERDICTS.join(", ")}`);
  }
  const judged = taken.filter(([, review]) => review.verdict || review.note);
  for (const [anomaly, review] of judged) Review.put(anomaly, review);
  LINES.forEach((_, lineIndex) => Review.store(lineIndex));
  Review.tell();
  return judged.length;
}

/** The anomaly that a row is of; throws where there is none, or where the row is of another map. */
function anomalyOf(row, name) {
  const candidates = ANOMALIES.filter(({ id }) => id === Number(row.id) && String(row.id).trim() !== "");
  const own = candidates.filter(
    ({ line }) => (!row.map_sha256 || row.map_sha256 === line.mapSha256) && (!SEVERAL || !row.line || row.line === line.name),
  );
  if (row.map_sha256 && !LINES.some((line) => line.mapSha256 === row.map_sha256)) {
    throw new Error(`${name}: it is a review of another map`);
  }
  if (own.length !== 1) throw new Error(`${name}: anomaly ${row.id} is not in this page`);
  const [anomaly] = own;
  for (const field of ["peak_row", "peak_col"]) {
    const [told, known] = [row[field], anomaly.properties[field]];
    if (told != null && told !== "" && typeof known === "number" && Math.abs(Number(told) - known) >= 1) {
      throw new Error(`${name}: its anomaly ${row.id} is another one; it is a review of other polygons`);
    }
  }
  return anomaly;
}

function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

/** After the layer; after the page, where its lines have layers of their own. */
const reviewName = () => {
  const layers = new Set(LINES.map(({ layer }) => layer));
  const name = layers.size === 1 ? [...layers][0].replace(/\.[^.]*$/, "") : DATA.title;
  return `${name.replace(/[^\w.-]+/g, "_")}_review`;
};
