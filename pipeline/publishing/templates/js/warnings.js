/* Warnings: a place in the list leads to it on the map and in the chart. */
function beginWarnings() {
  for (const b of document.querySelectorAll("#warnings button[data-node]")) {
    const d = data.domains.findIndex((x) => x.name === b.dataset.domain);
    const v = d < 0 ? -1 : data.domains[d].variables.findIndex((x) => x.name === b.dataset.variable);
    const node = d < 0 ? -1 : data.domains[d].nodes.indexOf(b.dataset.node);
    if (v < 0 || node < 0) { b.disabled = true; continue; }
    b.addEventListener("click", () => {
      select({ d });
      select({ v });
      select({ node, lead: +b.dataset.lead });
      $("forecast").scrollIntoView();
    });
  }
}
