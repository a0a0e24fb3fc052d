// Ticks in a list: [data-selection] holds it all, [data-tick] a row's box, [data-tick-all] the head's,
// [data-tick-count] the number, [data-needs-ticks] what is pressed with at least one. Shift ticks a range.
(() => {
  let last = null;

  const boxes = (list) => [...list.querySelectorAll("[data-tick]")];

  const show = (list) => {
    const all = boxes(list);
    const ticked = all.filter((box) => box.checked).length;
    for (const head of list.querySelectorAll("[data-tick-all]")) {
      head.checked = ticked > 0 && ticked === all.length;
      head.indeterminate = ticked > 0 && ticked < all.length;
    }
    for (const count of list.querySelectorAll("[data-tick-count]")) count.textContent = String(ticked);
    for (const button of list.querySelectorAll("[data-needs-ticks]")) button.disabled = ticked === 0;
    for (const bar of list.querySelectorAll(".selection")) bar.toggleAttribute("data-active", ticked > 0);
  };

  const tickRange = (list, from, to) => {
    const all = boxes(list);
    const [start, end] = [all.indexOf(from), all.indexOf(to)].sort((a, b) => a - b);
    if (start < 0) return;
    for (const box of all.slice(start, end + 1)) box.checked = to.checked;
  };

  document.addEventListener("click", (event) => {
    const box = event.target.closest?.("[data-tick]");
    const list = box?.closest("[data-selection]");
    if (!list) return;
    if (event.shiftKey && last && last !== box && list.contains(last)) tickRange(list, last, box);
    last = box;
    show(list);
  });

  document.addEventListener("change", (event) => {
    const list = event.target.closest?.("[data-selection]");
    if (!list) return;
    if (event.target.matches("[data-tick-all]")) {
      for (const box of boxes(list)) box.checked = event.target.checked;
    }
    show(list);
  });

  const showAll = () => document.querySelectorAll("[data-selection]").forEach(show);
  document.addEventListener("DOMContentLoaded", () => {
    showAll();
    document.body.addEventListener("htmx:afterSettle", showAll);
  });
  // Back in history the browser may bring the ticks back.
  window.addEventListener("pageshow", showAll);
})();
