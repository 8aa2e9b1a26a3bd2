/* A button beside each id that copies the whole of it. Without this script the id is whole on hover. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  if (!navigator.clipboard) return;
  for (const id of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "agentstate-copy-id";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy the id ${id.dataset.copy}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(id.dataset.copy);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    (id.closest("a") || id).after(button); // a link holds no button
  }
});
