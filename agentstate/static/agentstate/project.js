// The time slider of a project's page: without this script its form and its links load the whole page.
"use strict";

(() => {
  const slider = document.getElementById("agentstate-slider");
  if (!slider) return;
  const shown = document.getElementById("agentstate-moment");
  const status = document.getElementById("agentstate-slid");
  const PAUSE = 120;
  let waiting = 0;
  let loading = null;

  slider.form.classList.add("agentstate-live");

  // The present has no number of its own: the history may have grown since.
  function query(number) {
    return Number(number) < Number(slider.max) ? `?moment=${number}` : "";
  }

  function stop() {
    clearTimeout(waiting);
    loading?.abort();
  }

  async function show(number) {
    stop();
    loading = new AbortController();
    shown.setAttribute("aria-busy", "true");
    try {
      const address = slider.dataset.moment + query(number);
      const response = await fetch(address, { signal: loading.signal, credentials: "same-origin" });
      if (!response.ok || response.redirected) throw new Error(response.statusText);
      replace(await response.text());
    } catch (error) {
      if (error.name !== "AbortError") location.assign(slider.dataset.page + query(number));
    }
  }

  // Folds that were opened stay open, and a link that was followed keeps the focus.
  function replace(html) {
    const open = new Set([...shown.querySelectorAll("details[id][open]")].map((fold) => fold.id));
    const link = shown.contains(document.activeElement) ? document.activeElement.rel : null;
    shown.innerHTML = html;
    shown.removeAttribute("aria-busy");
    for (const fold of shown.querySelectorAll("details[id]")) fold.open = open.has(fold.id);
    if (link !== null) (shown.querySelector(`a[rel="${link}"]`) ?? slider).focus();
    const position = shown.querySelector("[data-number]");
    slider.max = position.dataset.last;
    slider.value = position.dataset.number;
    slider.setAttribute("aria-valuetext", position.dataset.text);
    status.textContent = position.dataset.text;
    history.replaceState(null, "", slider.dataset.page + position.dataset.query);
  }

  // An answer to where the slider stood before would move it back under the hand.
  slider.addEventListener("input", () => {
    stop();
    waiting = setTimeout(show, PAUSE, slider.value);
  });

  shown.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-moment]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(link.dataset.moment);
  });
})();
