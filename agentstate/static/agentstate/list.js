/* Folds the filters of a list on all but wide screens, unless one is set. Without this script they are unfolded. */
"use strict";

(() => {
  const filters = document.querySelector(".agentstate-list-filters");
  if (filters && !("set" in filters.dataset) && matchMedia("(max-width: 1279px)").matches) filters.open = false;
})();
