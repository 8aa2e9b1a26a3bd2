/* Times in UTC, as the server writes them, or in the browser's zone. The choice is remembered. */
"use strict";

(() => {
  const KEY = "agentstate.times";
  const TIMES = "time[datetime], [data-time]";
  // A year, seconds, their fraction and the zone are written where the server wrote them.
  const WRITTEN = /(\d{4}-)?\d\d-\d\d \d\d:\d\d(:\d\d(\.\d+)?)?( (?:UTC|[+-]\d\d:\d\d))?/;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  let isLocal = localStorage.getItem(KEY) === "browser";

  const two = (number) => String(number).padStart(2, "0");

  const offset = (minutes) => {
    const whole = Math.abs(Math.round(minutes));
    return `${minutes < 0 ? "-" : "+"}${two(Math.floor(whole / 60))}:${two(whole % 60)}`;
  };

  const rewritten = (text, iso) => text.replace(WRITTEN, (_, year, seconds, fraction, named) => {
    const date = new Date(iso);
    const minutes = isLocal ? -date.getTimezoneOffset() : 0;
    const [day, clock] = new Date(date.getTime() + minutes * 60000).toISOString().split("T");
    const digits = (/\.(\d+)/.exec(iso)?.[1] ?? "").padEnd(6, "0"); // a Date has three
    return (year ? day : day.slice(-5)) + " " + clock.slice(0, seconds ? 8 : 5)
      + (fraction ? "." + digits.slice(0, fraction.length - 1) : "")
      + (named ? " " + (isLocal ? offset(minutes) : "UTC") : "");
  });

  const rewrite = (element) => {
    const iso = element.dataset.time ?? element.getAttribute("datetime");
    if (Number.isNaN(Date.parse(iso))) return;
    const text = rewritten(element.textContent, iso);
    if (text !== element.textContent) element.textContent = text;
    if (element.title) element.title = rewritten(element.title, iso);
  };

  const rewriteAll = (root) => {
    if (root.matches?.(TIMES)) rewrite(root);
    root.querySelectorAll?.(TIMES).forEach(rewrite);
  };

  const addSwitch = () => {
    const tools = document.getElementById("user-tools");
    if (!tools || new Date().getTimezoneOffset() === 0 && zone.endsWith("UTC")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "agentstate-zone";
    const label = () => {
      button.textContent = `Times: ${isLocal ? zone : "UTC"}`;
      button.title = `Show times in ${isLocal ? "UTC" : zone}`;
    };
    button.addEventListener("click", () => {
      isLocal = !isLocal;
      localStorage.setItem(KEY, isLocal ? "browser" : "UTC");
      label();
      rewriteAll(document);
    });
    label();
    tools.insertBefore(button, tools.querySelector(".theme-toggle"));
  };

  addSwitch();
  if (isLocal) rewriteAll(document);
  // Pages load parts of themselves later.
  new MutationObserver((changes) => {
    if (!isLocal) return;
    for (const { addedNodes } of changes) addedNodes.forEach(rewriteAll);
  }).observe(document.body, { childList: true, subtree: true });
})();
