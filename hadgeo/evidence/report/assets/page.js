"use strict";

/* Brings the parts of the page together: what is chosen, keys, files and print. */

const Page = {
  chosen: null,

  begin() {
    this.summary();
    Review.listeners.push(() => this.count());
    SceneMap.begin();
    SceneMap.onchoose = (anomaly) => this.choose(anomaly);
    Review.restore();
    Table.onchoose = (anomaly) => this.choose(anomaly);
    Table.begin();
    this.scores();
    this.made();
    this.listen();
    if (ANOMALIES.length) this.choose(Table.rows[0]);
    else SceneMap.show(LINES[0]);
    // Now that everything has its place.
    SceneMap.whole();
    Review.listeners.push(() => SceneMap.restyle());
  },

  summary() {
    const [line] = LINES;
    const total = LINES.reduce((sum, { total }) => sum + total, 0);
    const told = [many(total, "anomaly", "anomalies")];
    if (SEVERAL) told.push(many(LINES.length, "flight line"));
    else if (line.histogram.threshold != null) told.push(`scores from ${number(line.histogram.threshold, 5)}${line.histogram.rule ? ` (${line.histogram.rule})` : ""}`);
    const detectors = [...new Set(LINES.map(({ detector }) => detector).filter(Boolean))];
    if (detectors.length) told.push(`found by ${detectors.join(", ")}`);
    if (line && line.crs && !SEVERAL) told.push(line.crs);
    byId("summary").textContent = told.join(" · ");
  },

  count() {
    const { accepted, rejected, unsure } = Review.counts();
    const done = accepted + rejected + unsure;
    byId("reviewed").textContent = `${whole(done)} of ${whole(ANOMALIES.length)} looked at: ${accepted} accepted, ${rejected} rejected, ${unsure} unsure${Review.stored ? "" : "; not kept by this browser, so save it"}`;
  },

  say(text) {
    byId("status").textContent = text;
  },

  choose(anomaly, { focus = false } = {}) {
    if (anomaly === this.chosen) {
      if (focus) Table.choose(anomaly, true);
      return;
    }
    // What is written, but not left yet.
    if (document.activeElement?.id === "note") document.activeElement.blur();
    this.chosen = anomaly;
    Table.choose(anomaly, focus);
    SceneMap.choose(anomaly);
    this.card();
  },

  card() {
    const home = byId("card");
    home.replaceChildren();
    const waiting = [];
    if (this.chosen) drawCard(home, this.chosen, waiting);
    return Promise.all(waiting);
  },

  step(by) {
    if (Table.rows.length) this.choose(Table.beside(this.chosen, by), { focus: true });
  },

  /** Give the chosen anomaly a verdict, and go on to the next; null takes it back. */
  judge(verdict) {
    const anomaly = this.chosen;
    if (!anomaly) return;
    const next = verdict ? Table.beside(anomaly, 1) : anomaly;
    Review.change(anomaly, { verdict });
    Table.renew(anomaly);
    const told = `Anomaly ${anomaly.id}${SEVERAL ? ` of ${anomaly.line.name}` : ""}: ${verdict || "verdict taken back"}.`;
    this.say(next && next !== anomaly ? `${told} Now anomaly ${next.id}.` : told);
    if (next && next !== anomaly) this.choose(next, { focus: true });
    else this.card();
  },

  annotate(anomaly, text) {
    Review.change(anomaly, { note: text.trim() || null });
    Table.renew(anomaly);
    this.say(`Note on anomaly ${anomaly.id} kept.`);
  },

  listen() {
    document.addEventListener("keydown", (event) => this.key(event));
    byId("help-open").addEventListener("click", () => byId("help").showModal());
    byId("export-geojson").addEventListener("click", () => save(asGeoJSON(), "application/geo+json", `${reviewName()}.geojson`));
    byId("export-csv").addEventListener("click", () => save(asCSV(), "text/csv", `${reviewName()}.csv`));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.load(event.target));
    byId("print-one").addEventListener("click", () => window.print());
    byId("print-all").addEventListener("click", () => this.printAll());
    const reviewer = byId("reviewer");
    try {
      reviewer.value = localStorage.getItem("hadgeo-reviewer") || "";
    } catch {
      Review.stored = false;
    }
    reviewer.addEventListener("change", () => {
      try {
        localStorage.setItem("hadgeo-reviewer", reviewer.value.trim());
      } catch {
        Review.stored = false;
      }
    });
    // Another tab with the same page.
    window.addEventListener("storage", ({ key }) => {
      if (!LINES.some((line) => Review.name(line) === key)) return;
      Review.restore();
      Table.draw();
      this.card();
    });
    const redraw = () => (this.card(), this.scores());
    DARK.addEventListener("change", redraw);
    let width = innerWidth;
    addEventListener("resize", () => {
      if (width !== innerWidth && !printing) redraw();
      width = innerWidth;
    });
    addEventListener("beforeprint", () => this.paper(true));
    addEventListener("afterprint", () => this.paper(false));
  },

  /** Dark colours and pages of the list are of the screen. */
  paper(on) {
    printing = Table.all = on;
    const map = byId("map");
    // Paper has its own width: the map keeps its own, and shrinks.
    const { offsetWidth: width, offsetHeight: height } = map;
    Object.assign(map.style, on ? { width: `${width}px`, height: `${height}px`, zoom: Math.min(1, PAPER_WIDTH / width) } : { width: "", height: "", zoom: "" });
    Table.draw();
    this.card();
    this.scores();
    if (!on) {
      delete document.body.dataset.print;
      byId("print-cards").replaceChildren();
    }
  },

  async printAll() {
    printing = true;
    document.body.dataset.print = "all";
    const waiting = [];
    for (const anomaly of Table.rows) {
      const home = make("article", { class: "card" });
      byId("print-cards").append(home);
      drawCard(home, anomaly, waiting, true);
    }
    await Promise.all(waiting);
    window.print();
  },

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open) return;
    const { target } = event;
    if (target.id === "note" && event.key === "Escape") {
      target.blur();
      Table.choose(this.chosen, true);
      return;
    }
    if (target.matches?.("input, select, textarea")) return;
    const onMap = target.closest?.("#map");
    const action = KEYS[event.key];
    if (!action || (onMap && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    action();
  },

  async load(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      const count = load(await file.text(), file.name);
      this.say(`${file.name}: ${many(count, "verdict")} loaded.`);
      Table.filter();
      this.card();
    } catch (error) {
      this.say(`Nothing was loaded. ${error.message}.`);
    }
  },

  scores() {
    const home = byId("histograms");
    home.replaceChildren();
    for (const line of LINES) {
      const { histogram } = line;
      const plot = make("div", { class: "plot", role: "img", "aria-label": `How many pixels of ${line.name} have which score` });
      const facts = make("dl", { class: "facts" }, ...Object.entries(histogram.facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
      const body = make("div", { class: "scores" }, plot, facts);
      if (!SEVERAL) {
        home.append(body);
        drawHistogram(plot, histogram, chartWidth(home), 240);
        continue;
      }
      const details = make("details", {}, make("summary", {}, line.name), body);
      details.addEventListener("toggle", () => {
        plot.replaceChildren();
        if (details.open) drawHistogram(plot, histogram, chartWidth(home), 240);
      });
      home.append(details);
    }
  },

  made() {
    for (const line of LINES) {
      const body = make("div", {});
      if (line.repeat) {
        body.append(make("p", {}, "The command that makes it again:"), make("pre", { class: "command" }, line.repeat));
      }
      if (line.run) {
        const seconds = Object.entries(line.run.seconds || {}).map(([name, value]) => `${name} ${number(value, 3)} s`).join(", ");
        const versions = Object.entries(line.run.versions || {}).map(([name, value]) => `${name} ${value}`).join(", ");
        body.append(tableOf("Run", { ...line.run.options, time: seconds, versions }));
      } else body.append(make("p", { class: "hint" }, "No manifest of its run lies beside the map, so its settings are not known here."));
      body.append(tableOf("Map", { map: line.map, "SHA-256": line.mapSha256, polygons: line.layer, rows: line.shape[0], columns: line.shape[1], "coordinate system": line.crs || "none" }));
      byId("made").append(SEVERAL ? make("details", {}, make("summary", {}, line.name), body) : body);
    }
  },
};

const KEYS = {
  j: () => Page.step(1),
  ArrowDown: () => Page.step(1),
  k: () => Page.step(-1),
  ArrowUp: () => Page.step(-1),
  a: () => Page.judge("accepted"),
  r: () => Page.judge("rejected"),
  u: () => Page.judge("unsure"),
  x: () => Page.judge(null),
  n: () => byId("note")?.focus(),
  z: () => Page.chosen && SceneMap.zoom(Page.chosen),
  0: () => SceneMap.whole(),
  c: () => SceneMap.nextPicture(),
  s: () => SceneMap.toggleScores(),
  "?": () => byId("help").showModal(),
};

/** Pixels across a sheet between its margins. */
const PAPER_WIDTH = 690;

const chartWidth = (home) => Math.max(300, Math.min(home.clientWidth - 20, 760));

function tableOf(caption, facts) {
  const told = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
  return make(
    "table",
    { class: "settings" },
    make("caption", {}, caption),
    make("tbody", {}, ...Object.entries(facts).map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, told(value))))),
  );
}

Page.begin();
document.documentElement.dataset.ready = "yes";
