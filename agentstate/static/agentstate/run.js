/* A run's page: loads large documents when they are unfolded, and follows a running run. */
"use strict";

(() => {
  const SOON = 1000, LATEST = 30000, OLD = 15000;

  // -- documents on demand

  const load = async (place) => {
    const address = place.dataset.load;
    delete place.dataset.load;
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { redirect: "error" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const summary = place.querySelector(":scope > summary");
      place.replaceChildren(...(summary ? [summary] : []), ...parsed(await answer.text()));
      addCopyButtons(place);
    } catch (error) {
      place.dataset.load = address; // to be tried again when it is unfolded again; the plain link stays
    } finally {
      place.removeAttribute("aria-busy");
    }
  };

  const parsed = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.childNodes;
  };

  document.addEventListener("toggle", ({ target }) => {
    if (!(target instanceof HTMLDetailsElement) || !target.open) return;
    const places = [...target.querySelectorAll("[data-load]")];
    if (target.dataset.load) places.push(target);
    places.filter((place) => place.closest("details") === target).forEach(load);
    if (!target.dataset.load) addCopyButtons(target);
  }, true);

  // -- copying

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) { // no permission, or a page without TLS
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const addCopyButtons = (element) => {
    for (const pre of element.querySelectorAll("pre")) {
      if (pre.previousElementSibling?.matches(".agentstate-copy")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "agentstate-copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await copied(pre.textContent);
        button.textContent = "Copied";
      });
      pre.before(button);
    }
  };
  document.querySelectorAll(".agentstate-event details[open], .agentstate-run-error, .agentstate-document").forEach(addCopyButtons);

  // -- folding the tree

  const setFolded = (row, isFolded) => {
    const depth = Number(row.dataset.depth || 0);
    row.querySelector(".agentstate-fold").setAttribute("aria-expanded", String(!isFolded));
    let below = row.nextElementSibling;
    for (; below && (!below.dataset.version || Number(below.dataset.depth || 0) > depth); below = below.nextElementSibling) {
      below.hidden = isFolded;
      below.querySelector(".agentstate-fold")?.setAttribute("aria-expanded", String(!isFolded));
    }
  };

  const addFolds = () => {
    for (const row of document.querySelectorAll(".agentstate-event[data-inside]")) {
      if (row.querySelector(".agentstate-fold")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "agentstate-fold";
      button.setAttribute("aria-label", "What happened inside");
      button.setAttribute("aria-expanded", "true");
      button.addEventListener("click", () => setFolded(row, button.getAttribute("aria-expanded") === "true"));
      row.prepend(button);
    }
  };
  addFolds();

  // -- the strip of the whole run, for which the page does not wait

  const strip = document.querySelector("[data-overview]");
  let stripAt = 0;
  const showOverview = async () => {
    const address = document.querySelector("[data-events]").dataset.overviewUrl;
    if (!strip || !address || Date.now() - stripAt < OLD) return;
    stripAt = Date.now();
    try {
      const answer = await fetch(`${address}&part`, { redirect: "error" });
      const html = await answer.text();
      // What has the focus stays, or the keyboard would lose its place.
      if (answer.ok && !strip.contains(document.activeElement)) strip.replaceChildren(...parsed(html));
    } catch (error) {
      // The plain link, or the strip of before, stays.
    }
  };
  showOverview();

  // -- the event that a link leads to

  const chosen = document.querySelector("[data-chosen]");
  if (chosen && !location.hash && new URLSearchParams(location.search).has("event")) chosen.scrollIntoView({ block: "center" });

  // -- a running run

  const timeline = document.querySelector("[data-live-url]");
  if (!timeline) return;
  const say = timeline.querySelector("[data-follow]");
  const header = document.querySelector(".agentstate-run-header");
  let events = timeline.querySelector("[data-events]");
  let updated = Date.now(), pause = SOON, timer = 0, isLooking = false, hasEnded = false;

  // Keep what is focused or unfolded.
  const inUse = (element) => element.contains(document.activeElement)
    || [...element.querySelectorAll("details[open]")].some((each) => !each.parentElement.closest("details:not([open])"));

  const updateHeader = (fresh) => {
    for (const part of header.querySelectorAll("[data-part]")) {
      const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (other && other.innerHTML !== part.innerHTML && !inUse(part)) part.replaceChildren(...other.childNodes);
    }
  };

  const updateChips = (fresh) => {
    const [old, now] = [document, fresh].map((each) => each.querySelector("[data-chips]"));
    if (old.innerHTML !== now.innerHTML && !inUse(old) && !old.matches(":hover")) old.replaceWith(now);
  };

  const updateRow = (row, fresh) => {
    row.dataset.outcome = fresh.dataset.outcome || "";
    for (const name of ["depth", "inside"]) if (name in fresh.dataset) row.dataset[name] = fresh.dataset[name];
    const bars = [row, fresh].map((each) => each.querySelector(".agentstate-bar"));
    if (row.dataset.version === fresh.dataset.version && bars.every(Boolean)) {
      bars[0].replaceWith(bars[1]);
    } else if (row.innerHTML !== fresh.innerHTML) {
      if (!inUse(row)) return fresh;
      for (const name of [".agentstate-event-text", ".agentstate-mark", ".agentstate-bar"]) {
        const [old, now] = [row, fresh].map((each) => each.querySelector(name));
        if (old && now) old.replaceWith(now);
      }
      // Of a call that is unfolded, what came of it is added below.
      const [body, other] = [row, fresh].map((each) => each.querySelector(".agentstate-event-body"));
      const parts = [...other.querySelectorAll(":scope > [data-event]")];
      const more = parts.filter((part) => !body.querySelector(`:scope > [data-event="${CSS.escape(part.dataset.event)}"]`));
      [...body.querySelectorAll(":scope > [data-event]")].at(-1).after(...more);
      if (body.closest("details").open) more.flatMap((part) => [...part.querySelectorAll("div[data-load]")]).forEach(load);
    }
    return row;
  };

  // Rows are matched by their events. Those that are there stay where they are, so that nothing jumps.
  const updateRows = (rows, fresh) => {
    const others = [...fresh.children];
    const wanted = new Set(others.map((other) => other.dataset.key));
    const known = new Map();
    for (const row of [...rows.children]) {
      if (wanted.has(row.dataset.key)) known.set(row.dataset.key, row);
      else if (!inUse(row)) row.remove();
    }
    let added = 0, place = rows.firstElementChild;
    for (const other of others) {
      while (place && !wanted.has(place.dataset.key)) place = place.nextElementSibling;
      const old = known.get(other.dataset.key);
      if (!old) {
        rows.insertBefore(other, place);
        if (other.dataset.version) added += 1;
        continue;
      }
      if (old === place) place = place.nextElementSibling;
      else rows.insertBefore(old, place);
      const row = updateRow(old, other);
      if (row !== old) old.replaceWith(row);
    }
    return added;
  };

  const updateEvents = (fresh) => {
    const [rows, other] = [events, fresh].map((each) => each.querySelector("[data-rows]"));
    let added = 0;
    if (rows && other) {
      rows.className = other.className;
      added = updateRows(rows, other);
      events.querySelector("[data-axis]").replaceWith(fresh.querySelector("[data-axis]"));
      for (const side of ["above", "below"]) updatePager(side, fresh);
      events.dataset.pulse = fresh.dataset.pulse;
      events.dataset.overviewUrl = fresh.dataset.overviewUrl;
    } else {
      added = fresh.querySelectorAll("[data-version]").length;
      events.replaceWith(fresh);
      events = fresh;
    }
    return added;
  };

  const updatePager = (side, fresh) => {
    const [old, now] = [events, fresh].map((each) => each.querySelector(`[data-pager="${side}"]`));
    if (old && now && !inUse(old)) old.replaceWith(now);
    else if (!old && now) events[side === "above" ? "prepend" : "append"](now);
  };

  const look = async () => {
    // Request everything from time to time, to refresh the times in the header.
    const address = new URL(timeline.dataset.liveUrl, location.href);
    if (Date.now() - updated <= OLD) address.searchParams.set("pulse", events.dataset.pulse);
    const answer = await fetch(address, { redirect: "error" });
    if (answer.status === 204) return true;
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    const fresh = document.createElement("div");
    fresh.replaceChildren(...parsed(await answer.text()));
    updated = Date.now();
    const freshEvents = fresh.querySelector("[data-events]");
    const status = freshEvents.dataset.status;
    updateHeader(fresh);
    updateChips(fresh);
    const added = updateEvents(freshEvents);
    showOverview();
    addFolds();
    if (status !== "running") {
      say.textContent = `No longer running: ${status}.`;
      return false;
    }
    if (added) say.textContent = `Live: ${added} new event${added === 1 ? "" : "s"}.`;
    return true;
  };

  const follow = async () => {
    clearTimeout(timer);
    if (isLooking || hasEnded || document.hidden) return; // once it is seen again, this is called again
    isLooking = true;
    try {
      hasEnded = !await look();
      if (pause > SOON && !hasEnded) say.textContent = "Live.";
      pause = SOON;
    } catch (error) {
      pause = Math.min(2 * pause, LATEST);
      say.textContent = `No answer. Retrying in ${Math.round(pause / 1000)} s.`;
    }
    isLooking = false;
    if (!hasEnded) timer = setTimeout(follow, pause);
  };

  document.addEventListener("visibilitychange", follow);
  say.textContent = "Live.";
  timer = setTimeout(follow, pause);
})();
