"use strict";
// Draws every figure of the page from the JSON that stands behind its place.
(function () {
  const words = { labelFontSize: 11, titleFontSize: 11, labelColor: "currentColor", titleColor: "currentColor" };
  const config = {
    background: null,
    font: "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif",
    view: { stroke: null },
    axis: Object.assign({
      gridColor: "currentColor", gridOpacity: 0.13, domainColor: "currentColor", domainOpacity: 0.5,
      tickColor: "currentColor", tickOpacity: 0.5, titleFontWeight: "normal", labelLimit: 160,
      labelOverlap: true, labelFlush: false,
    }, words),
    legend: Object.assign({ orient: "bottom", symbolOpacity: 1, columns: { expr: "max(1, floor(width / 95))" }, labelLimit: 220 }, words),
    title: { color: "currentColor", fontSize: 12, fontWeight: 600, anchor: "start", limit: 320 },
    text: { color: "currentColor" },
    line: { strokeWidth: 2 },
    bar: { color: "#1f83c6" },
    point: { color: "#1f83c6" },
  };
  const options = {
    actions: { export: true, source: false, compiled: false, editor: false },
    config: config, mode: "vega-lite", renderer: "svg",
  };
  // On paper nothing can be unfolded: what is no more than the numbers of a figure stays away.
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details.printed:not([open])").forEach(function (one) {
      one.open = true;
      one.dataset.folded = "yes";
    });
  });
  addEventListener("afterprint", function () {
    document.querySelectorAll("details[data-folded]").forEach(function (one) {
      one.open = false;
      delete one.dataset.folded;
    });
  });
  const pending = [];
  document.querySelectorAll("script.spec").forEach(function (script) {
    const place = script.previousElementSibling;
    const spec = Object.assign({ autosize: { type: "fit-x", contains: "padding" } }, JSON.parse(script.textContent));
    pending.push(vegaEmbed(place, spec, options).then(function () {
      place.dataset.drawn = "yes";
    }).catch(function (error) {
      place.textContent = "This figure could not be drawn: " + error.message;
      place.classList.add("failed");
      throw error;
    }));
  });
  Promise.all(pending).then(function () {
    document.body.dataset.drawn = String(pending.length);
  });
})();
