/* Folds the filters of a list on narrow screens, unless one is set. Without this script they are unfolded. */
"use strict";

(() => {
  const filters = document.querySelector(".agentstate-list-filters");
  if (filters && !("set" in filters.dataset) && matchMedia("(max-width: 767px)").matches) filters.open = false;
})();
