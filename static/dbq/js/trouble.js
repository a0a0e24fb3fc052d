// A failure that brings no words of ours (a proxy's page, Django's 500, no answer at all) gets these.
// Refreshes are left to live.js, which says "no answer" in the clock.
(() => {
  const isTick = (event) => event.detail.requestConfig?.triggeringEvent?.type === "dbq:tick";

  const show = (event) => {
    if (isTick(event)) return;
    const words = document.getElementById("trouble").content.cloneNode(true);
    document.getElementById("messages").replaceChildren(words);
  };

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (xhr.status < 400 || xhr.getResponseHeader("X-Dbq-Words")) return;
    event.detail.shouldSwap = false;
    show(event);
  });
  document.addEventListener("htmx:sendError", show);
  document.addEventListener("htmx:timeout", show);
})();
