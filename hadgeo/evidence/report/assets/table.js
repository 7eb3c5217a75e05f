"use strict";

/* The ranked list: sorted, filtered, and shown page by page, so that thousands of rows stay quick. */

const PAGE_ROWS = 200;

const COLUMNS = [
  { key: "rank", label: "rank", value: (a) => a.rank, numeric: true, wanted: () => ANOMALIES.some((a) => a.rank !== a.id) },
  { key: "id", label: "id", value: (a) => a.id, numeric: true },
  { key: "verdict", label: "verdict", value: (a) => Review.of(a).verdict || "", cell: verdictCell },
  { key: "line", label: "line", value: (a) => a.line.name, wanted: () => SEVERAL },
  { key: "p", label: "p-value", value: (a) => a.properties.p_value, text: (a) => rare(a.properties.p_value), numeric: true },
  { key: "pixels", label: "pixels", value: (a) => a.properties.pixels, text: (a) => whole(a.properties.pixels), numeric: true },
  { key: "area", label: "area (m²)", value: (a) => a.properties.area_m2, text: (a) => number(a.properties.area_m2, 3), numeric: true },
  { key: "score", label: "score", value: (a) => a.properties.max_score, text: (a) => number(a.properties.max_score, 4), numeric: true },
  { key: "kind", label: "led by", value: (a) => a.kind },
  { key: "place", label: "place", value: (a) => a.properties.lat ?? a.properties.peak_row, text: placeOf },
];

function verdictCell(anomaly) {
  const { verdict, note } = Review.of(anomaly);
  const told = verdict ? `${VERDICT_SIGNS[verdict]} ${verdict}` : "";
  return make("span", { class: `tag ${verdict || ""}`, title: note }, told + (note ? " ✎" : ""));
}

const Table = {
  rows: [...ANOMALIES],
  sort: { key: "p", down: false },
  page: 0,
  chosen: null,
  all: false,
  onchoose: () => {},

  begin() {
    const ranked = [...ANOMALIES].sort((one, other) => compared(one.properties.p_value, other.properties.p_value) || compared(other.properties.max_score, one.properties.max_score));
    ranked.forEach((anomaly, i) => (anomaly.rank = i + 1));
    const known = (column) => ANOMALIES.some((anomaly) => ![undefined, null, ""].includes(column.value(anomaly)));
    this.columns = COLUMNS.filter((column) => column.key === "verdict" || (column.wanted ? column.wanted() : known(column)));
    byId("heads").append(
      ...this.columns.map((column) =>
        make("th", { scope: "col", class: column.numeric ? "numeric" : null }, make("button", { type: "button", click: () => this.sortBy(column.key) }, column.label)),
      ),
    );
    this.choices("filter-kind", ANOMALIES.map((anomaly) => anomaly.kind));
    this.choices("filter-line", SEVERAL ? LINES.map((line) => line.name) : []);
    byId("filters").addEventListener("input", () => this.filter());
    byId("filters").addEventListener("reset", () => setTimeout(() => this.filter()));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("page-before").addEventListener("click", () => this.turn(this.page - 1));
    byId("page-after").addEventListener("click", () => this.turn(this.page + 1));
    this.filter();
  },

  choices(id, values) {
    const distinct = [...new Set(values.filter(Boolean))].sort();
    byId(`${id}-label`).hidden = distinct.length < 2;
    byId(id).append(make("option", { value: "" }, "any"), ...distinct.map((value) => make("option", { value }, value)));
  },

  filter() {
    const field = (id) => byId(id).value.trim();
    const limit = field("filter-p") === "" ? NaN : Number(field("filter-p").replace(",", "."));
    byId("filter-p").setAttribute("aria-invalid", String(field("filter-p") !== "" && Number.isNaN(limit)));
    const [least, most] = [Number(field("filter-least") || 0), Number(field("filter-most") || Infinity)];
    const [kind, line, verdict] = ["filter-kind", "filter-line", "filter-verdict"].map(field);
    this.rows = ANOMALIES.filter((anomaly) => {
      const { p_value: p, pixels = 1 } = anomaly.properties;
      return (
        (Number.isNaN(limit) || (typeof p === "number" && p <= limit)) &&
        pixels >= least &&
        pixels <= most &&
        (!kind || anomaly.kind === kind) &&
        (!line || anomaly.line.name === line) &&
        (!verdict || (Review.of(anomaly).verdict || "none") === verdict)
      );
    });
    SceneMap.filter(this.rows);
    this.order();
    this.page = 0;
    this.draw();
  },

  sortBy(key) {
    this.sort = { key, down: this.sort.key === key && !this.sort.down };
    this.order();
    this.draw();
  },

  order() {
    const column = COLUMNS.find(({ key }) => key === this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    this.rows.sort((one, other) => compared(column.value(one), column.value(other), sign) || one.rank - other.rank);
  },

  turn(page) {
    this.page = Math.max(0, Math.min(page, Math.ceil(this.rows.length / PAGE_ROWS) - 1));
    this.draw();
  },

  draw() {
    const pages = Math.max(1, Math.ceil(this.rows.length / PAGE_ROWS));
    this.page = Math.min(this.page, pages - 1);
    const shown = this.all ? this.rows : this.rows.slice(this.page * PAGE_ROWS, (this.page + 1) * PAGE_ROWS);
    byId("rows").replaceChildren(...shown.map((anomaly) => this.row(anomaly)));
    this.columns.forEach(({ key }, i) => {
      const head = byId("heads").children[i];
      if (key === this.sort.key) head.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    byId("caption").textContent = captionOf(this.rows.length);
    byId("nothing").hidden = this.rows.length > 0;
    byId("pager").hidden = pages === 1;
    byId("page-now").textContent = `${this.page + 1} of ${pages}`;
    byId("page-before").disabled = this.page === 0;
    byId("page-after").disabled = this.page === pages - 1;
  },

  row(anomaly) {
    const chosen = anomaly === this.chosen;
    const cells = this.columns.map((column) => {
      const content = column.cell ? column.cell(anomaly) : column.text ? column.text(anomaly) : String(column.value(anomaly) ?? "–");
      if (column.key === "id") {
        return make("th", { scope: "row", class: "numeric" }, make("button", { type: "button", tabindex: chosen ? 0 : -1, "aria-label": `Anomaly ${anomaly.id}`, focus: () => this.onchoose(anomaly) }, content));
      }
      return make("td", { class: column.numeric ? "numeric" : null }, content);
    });
    const row = make("tr", { "aria-current": chosen ? "true" : null, click: () => this.onchoose(anomaly) }, ...cells);
    row.dataset.key = anomaly.key;
    return row;
  },

  find: (anomaly) => byId("rows").querySelector(`tr[data-key="${CSS.escape(anomaly.key)}"]`),

  /** Mark a row, on whichever page it is. */
  choose(anomaly, focus = false) {
    this.chosen = anomaly;
    const place = this.rows.indexOf(anomaly);
    if (place >= 0 && Math.floor(place / PAGE_ROWS) !== this.page && !this.all) this.page = Math.floor(place / PAGE_ROWS);
    if (place >= 0 && !this.find(anomaly)) this.draw();
    for (const row of byId("rows").children) {
      const own = row.dataset.key === anomaly.key;
      if (own) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.querySelector("th button").tabIndex = own ? 0 : -1;
    }
    const row = this.find(anomaly);
    if (!row) return;
    row.scrollIntoView({ block: "nearest" });
    if (focus) row.querySelector("th button").focus({ preventScroll: true });
  },

  /** Replace the row of an anomaly, whose verdict has changed. */
  renew(anomaly) {
    const row = this.find(anomaly);
    if (row) row.querySelector(".tag").replaceWith(verdictCell(anomaly));
  },

  /** The anomaly so many rows further down; the last or first one at the end. */
  beside(anomaly, step) {
    const place = this.rows.indexOf(anomaly);
    return this.rows[Math.max(0, Math.min(place < 0 ? 0 : place + step, this.rows.length - 1))];
  },
};

/** Order of two values, what is unknown last. */
function compared(one, other, sign = 1) {
  const unknown = [one, other].map((value) => value == null || value === "");
  if (unknown[0] || unknown[1]) return unknown[0] - unknown[1];
  if (typeof one === "string") return sign * one.localeCompare(other, "en", { numeric: true });
  return sign * (one - other);
}

function captionOf(count) {
  const total = LINES.reduce((sum, line) => sum + line.total, 0);
  const charted = ANOMALIES.filter((anomaly) => anomaly.charted).length;
  const told = count === ANOMALIES.length ? many(count, "anomaly", "anomalies") : `${whole(count)} of ${many(ANOMALIES.length, "anomaly", "anomalies")}`;
  const left = total > ANOMALIES.length ? `; ${whole(total - ANOMALIES.length)} less rare ones are in the layers alone` : "";
  const few = charted < ANOMALIES.length ? `; pictures and spectra of the ${whole(charted)} rarest` : "";
  return told + few + left;
}
