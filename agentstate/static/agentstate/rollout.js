/* The rollout's page: while something is being counted or a step is being taken, show how far it is. */
"use strict";

(() => {
  const EVERY = 1500; // milliseconds
  const content = document.querySelector("#content-main");

  // Each form has another token each time.
  const shown = (part) => part.outerHTML.replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");

  const update = (fresh) => {
    const [old, now] = [content, fresh].map((each) => [...each.children]);
    const names = ([each]) => each.map((part) => part.id || part.className).join();
    if (names([old]) !== names([now])) {
      if (!content.contains(document.activeElement)) content.replaceChildren(...now);
      return;
    }
    old.forEach((part, index) => {
      if (shown(part) !== shown(now[index]) && !part.contains(document.activeElement)) part.replaceWith(now[index]);
    });
  };

  const follow = async () => {
    if (!content.querySelector("[data-live]")) return;
    try {
      const answer = await fetch(location.href, { redirect: "error" });
      if (answer.ok && !document.hidden) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        update(page.querySelector("#content-main"));
      }
    } catch (error) {
      // the server may be away for a moment: ask again
    }
    setTimeout(follow, EVERY);
  };

  setTimeout(follow, EVERY);
})();
