/* Folds the filters of a list on a phone. The line that stays names those that are set. Without this script they are
   unfolded. */
"use strict";

(() => {
  const filters = document.querySelector(".agentstate-list-filters");
  if (!filters) return;
  const phone = matchMedia("(max-width: 767px)");
  const fold = () => { filters.open = !phone.matches; };
  phone.addEventListener("change", fold);
  fold();
})();
