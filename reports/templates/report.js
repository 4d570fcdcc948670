"use strict";
(() => {
  const tools = document.querySelector(".tools");
  if (!tools) return; // no host was judged
  const search = document.querySelector("#_search");
  const status = document.querySelector("[data-status]");
  const reset = document.querySelector("[data-reset]");
  const unfold = document.querySelector("[data-unfold]");
  const facets = [...document.querySelectorAll("[data-facet]")];
  const findings = [...document.querySelectorAll(".finding")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const folds = [...document.querySelectorAll(".fold")];
  const texts = new Map();

  const text = (finding) => {
    if (!texts.has(finding)) texts.set(finding, finding.textContent.toLowerCase().replace(/\s+/g, " "));
    return texts.get(finding);
  };

  const chosen = (facet) => new Set([...facet.querySelectorAll("[aria-pressed=true]")].map((button) => button.value));

  /* a finding is shown where every search word is in it, and in each facet its value is chosen, or none is */
  const filter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const sets = facets.map((facet) => [facet.dataset.facet, chosen(facet)]);
    const filtered = wanted.length > 0 || sets.some(([, values]) => values.size > 0);
    let shown = 0;
    for (const finding of findings) {
      const fits = sets.every(([name, values]) => !values.size || values.has(finding.dataset[name]))
        && wanted.every((word) => text(finding).includes(word));
      finding.hidden = !fits;
      shown += fits;
    }
    for (const group of groups) {
      const left = group.querySelectorAll(".finding:not([hidden])").length;
      const count = group.querySelector("[data-count]");
      group.hidden = !left;
      if (count) count.textContent = left === Number(count.dataset.count) ? left : `${left} of ${count.dataset.count}`;
    }
    const before = document.documentElement.classList.contains("filtered");
    for (const fold of folds) {
      if (filtered && !before) fold.wasOpen = fold.open;
      if (filtered !== before) fold.open = filtered || fold.wasOpen;
    }
    document.documentElement.classList.toggle("filtered", filtered);
    reset.hidden = !filtered;
    status.textContent = !filtered ? `${findings.length} findings`
      : shown ? `${shown} of ${findings.length} findings shown` : "No finding matches";
  };

  const showAll = () => {
    search.value = "";
    for (const button of document.querySelectorAll("[aria-pressed=true]")) button.ariaPressed = "false";
    filter();
  };

  /* a link to a finding shows it, wherever it is folded or filtered away */
  const reveal = () => {
    let target;
    try {
      target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return;
    }
    if (!target) return;
    if (target.closest("[hidden]")) showAll();
    for (let one = target; one; one = one.parentElement) if (one.localName === "details") one.open = true;
    target.scrollIntoView();
    if (target.matches(".finding")) target.firstElementChild.focus({ preventScroll: true });
  };

  const details = () => [...findings, ...folds].filter((one) => !one.hidden);

  for (const facet of facets) {
    facet.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      filter();
    });
  }
  search.addEventListener("input", filter);
  reset.addEventListener("click", () => {
    showAll();
    search.focus();
  });
  unfold.addEventListener("click", () => {
    const open = unfold.textContent === "Open all";
    for (const one of details()) one.open = open;
    unfold.textContent = open ? "Close all" : "Open all";
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && event.target !== search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape" && event.target === search) showAll();
  });
  addEventListener("hashchange", reveal);

  /* on paper everything is open */
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = details().filter((one) => !one.open);
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of closed) one.open = false;
  });

  tools.hidden = !findings.length;
  filter();
  reveal();
})();
