// "/" search · j k rows · x tick · Enter open · r retry · g + letter pages · l live · t theme · ? help.
// A row is [data-row]; in it a[data-row-link] is opened, [data-tick] ticked, [data-row-retry] pressed.
(() => {
  let isGoing = false;

  const isTyping = (target) =>
    target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  const rows = () => [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
  const current = () => document.querySelector('[data-row][aria-current="true"]');

  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const here = all.indexOf(current());
    const next = all[Math.max(0, Math.min(all.length - 1, here < 0 ? 0 : here + by))];
    current()?.removeAttribute("aria-current");
    next.setAttribute("aria-current", "true");
    const target = next.querySelector("a[data-row-link]") ?? next;
    target.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };

  const press = (element) => {
    element?.click();
    return Boolean(element);
  };

  const keys = {
    "/": () => {
      const search = document.querySelector("[data-search]");
      if (search) {
        search.closest("details")?.setAttribute("open", "");
        search.focus();
        search.select?.();
      } else {
        const jobs = document.querySelector('[data-go="j"]');
        if (jobs) location.assign(`${jobs.href}#search`);
      }
    },
    j: () => step(1),
    k: () => step(-1),
    x: () => press(current()?.querySelector("[data-tick]")),
    Enter: () => press(current()?.querySelector("a[data-row-link]")),
    r: () => press(current()?.querySelector("[data-row-retry]")) || press(document.querySelector("[data-retry]")),
    l: () => document.dispatchEvent(new CustomEvent("dbq:toggle-live")),
    t: () => document.dispatchEvent(new CustomEvent("dbq:toggle-theme")),
    "?": () => document.getElementById("help")?.showModal(),
  };

  const go = (letter) => document.querySelector(`[data-go="${CSS.escape(letter)}"]`)?.click();

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && isTyping(event.target)) event.target.blur();
    if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (isGoing) {
      isGoing = false;
      event.preventDefault();
      go(event.key);
      return;
    }
    if (event.key === "g") {
      isGoing = true;
      setTimeout(() => { isGoing = false; }, 1500);
      return;
    }
    // Enter on a link or button is already what the browser does.
    if (event.key === "Enter" && event.target.matches("a, button, summary, input")) return;
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("[data-row]");
    if (!row || row === current()) return;
    current()?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
  });

  document.addEventListener("DOMContentLoaded", () => {
    if (location.hash === "#search") keys["/"]();
  });
})();
