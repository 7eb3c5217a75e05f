"use strict";

/* The map: pictures of a line, its scores and the outlines of its anomalies, in columns and rows of the scene. */

const VERDICT_COLOURS = { accepted: "#3fb950", rejected: "#b0b7bf", unsure: "#f0a30a" };
const OPEN_COLOUR = "#00e5ff";

const at = (x, y) => [-y, x];

const SceneMap = {
  map: null,
  line: null,
  chosen: null,
  shapes: new Map(),
  onchoose: () => {},

  begin() {
    this.map = L.map("map", {
      crs: L.CRS.Simple,
      preferCanvas: true,
      attributionControl: false,
      zoomSnap: 0.25,
      zoomDelta: 0.5,
      wheelPxPerZoomLevel: 90,
      minZoom: -9,
      maxZoom: 6,
    });
    this.renderer = L.canvas({ padding: 0.3, tolerance: 4 });
    this.control = null;
    this.map.on("zoomend", () => this.refresh());
    new ResizeObserver(() => this.map.invalidateSize()).observe(byId("map"));
  },

  /** Show a line; what is on stays on. */
  show(line) {
    if (line === this.line) return;
    const first = this.line === null;
    const scoresOn = first || (this.scores && this.map.hasLayer(this.scores));
    const picture = first ? 0 : this.pictures.findIndex((layer) => this.map.hasLayer(layer));
    if (this.control) this.control.remove();
    this.map.eachLayer((layer) => layer.remove());
    this.shapes.clear();
    this.line = line;
    const tiled = (tiles, label) =>
      L.layerGroup(
        tiles.map(({ src, left, top, right, bottom }) =>
          L.imageOverlay(src, [at(left, bottom), at(right, top)], { className: "sharp", alt: label }),
        ),
      );
    this.pictures = [...line.pictures.map(({ tiles, label }) => tiled(tiles, label)), L.layerGroup()];
    this.scores = tiled(line.scores.tiles, "scores");
    this.outlines = L.layerGroup();
    const own = ANOMALIES.filter((anomaly) => anomaly.line === line);
    this.radius = own.length > 200 ? 4 : 6;
    for (const anomaly of own) this.draw(anomaly);
    this.pictures[picture < 0 ? 0 : Math.min(picture, this.pictures.length - 1)].addTo(this.map);
    if (scoresOn) this.scores.addTo(this.map);
    this.outlines.addTo(this.map);
    const names = [...line.pictures.map(({ label }) => label), "no picture"];
    this.control = L.control
      .layers(
        Object.fromEntries(names.map((name, i) => [escaped(name), this.pictures[i]])),
        { "rarest scores": this.scores, anomalies: this.outlines },
        { collapsed: false, position: "topright" },
      )
      .addTo(this.map);
    this.whole();
    this.legend(line);
  },

  /** Outlines, and a ring around what is too small to be seen. */
  draw(anomaly) {
    const rings = anomaly.outlines.map((flat) => {
      const ring = [];
      for (let i = 0; i < flat.length; i += 2) ring.push(at(flat[i], flat[i + 1]));
      return ring;
    });
    const all = rings.flat();
    const bounds = L.latLngBounds(all);
    const polygon = L.polygon(rings.map((ring) => [ring]), { renderer: this.renderer, fill: true, fillOpacity: 0.01 });
    const dot = L.circleMarker(bounds.getCenter(), { renderer: this.renderer, radius: 6, fill: true, fillOpacity: 0.01 });
    const layers = [polygon, dot];
    for (const layer of layers) layer.on("click", () => this.onchoose(anomaly));
    const side = Math.max(bounds.getEast() - bounds.getWest(), bounds.getNorth() - bounds.getSouth());
    this.shapes.set(anomaly.key, { layers, bounds, anomaly, side });
    this.style(anomaly);
  },

  /** Show what passes the filters, and rings around what is too small to be seen. */
  refresh() {
    const scale = 2 ** this.map.getZoom();
    for (const { layers, anomaly, side } of this.shapes.values()) {
      const [polygon, dot] = layers;
      const passes = anomaly === this.chosen || !this.passing || this.passing.has(anomaly);
      for (const [layer, wanted] of [[polygon, passes], [dot, passes && side * scale < 12]]) {
        if (wanted !== this.outlines.hasLayer(layer)) this.outlines[wanted ? "addLayer" : "removeLayer"](layer);
      }
    }
  },

  /** Show some anomalies alone, and the chosen one. */
  filter(passing) {
    this.passing = new Set(passing);
    if (this.line) this.refresh();
  },

  style(anomaly) {
    const shape = this.shapes.get(anomaly.key);
    if (!shape) return;
    const { verdict } = Review.of(anomaly);
    const chosen = this.chosen === anomaly;
    const colour = chosen ? "#ff2d95" : VERDICT_COLOURS[verdict] || OPEN_COLOUR;
    // Not by colour alone.
    const dashArray = { rejected: "2 4", unsure: "6 4" }[verdict] || null;
    const [polygon, dot] = shape.layers;
    polygon.setStyle({ color: colour, weight: chosen ? 3 : 1.5, dashArray, fillColor: colour });
    dot.setStyle({ color: colour, weight: chosen ? 3 : 1.2, dashArray, fillColor: colour });
    dot.setRadius(chosen ? 11 : this.radius);
    if (chosen && this.map.hasLayer(polygon)) shape.layers.forEach((layer) => layer.bringToFront());
  },

  restyle() {
    for (const { anomaly } of this.shapes.values()) this.style(anomaly);
  },

  choose(anomaly) {
    const before = this.chosen;
    this.chosen = anomaly;
    this.show(anomaly.line);
    if (before) this.style(before);
    this.refresh();
    this.style(anomaly);
    const { bounds } = this.shapes.get(anomaly.key);
    if (!this.map.getBounds().contains(bounds)) this.map.panTo(bounds.getCenter(), { animate: false });
  },

  zoom(anomaly) {
    this.map.fitBounds(this.shapes.get(anomaly.key).bounds.pad(4), { maxZoom: 4, animate: false });
  },

  whole() {
    const [rows, cols] = this.line.shape;
    this.map.invalidateSize();
    this.map.fitBounds([at(0, rows), at(cols, 0)], { animate: false });
  },

  nextPicture() {
    const now = this.pictures.findIndex((layer) => this.map.hasLayer(layer));
    this.pictures[now]?.remove();
    this.pictures[(now + 1) % this.pictures.length].addTo(this.map);
  },

  toggleScores() {
    if (this.map.hasLayer(this.scores)) this.scores.remove();
    else this.scores.addTo(this.map);
  },

  legend(line) {
    const home = byId("legend");
    home.replaceChildren();
    const { legend } = line.scores;
    if (legend.length) {
      home.append(make("span", {}, "score "));
      for (const { score, label, colour } of legend) {
        const swatch = make("i", {});
        swatch.style.background = colour;
        home.append(make("span", { title: `${label}: ${number(score)}` }, swatch, `${number(score, 3)} (${label})`));
      }
    }
    if (line.step > 1) {
      home.append(make("span", {}, `every ${line.step}th pixel; scores: the highest of ${line.step} × ${line.step}`));
    }
  },
};

/** Leaflet takes the names of layers for markup. */
function escaped(text) {
  return make("i", {}, text).innerHTML;
}
