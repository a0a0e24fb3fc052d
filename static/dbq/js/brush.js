// Dragging over the bars of [data-brush] opens the job list for that time; a click stays a link.
(() => {
  const LEAST = 6;
  let drag = null;

  const findBar = (svg, clientX) => {
    const bars = [...svg.querySelectorAll("a")];
    const frame = svg.getBoundingClientRect();
    const place = Math.floor(((clientX - frame.left) / frame.width) * bars.length);
    return [Math.max(0, Math.min(bars.length - 1, place)), bars];
  };

  const show = (svg, first, last, count) => {
    const box = svg.querySelector("[data-brush-box]");
    const width = svg.viewBox.baseVal.width / count;
    box.setAttribute("x", String(first * width));
    box.setAttribute("width", String((last - first + 1) * width));
  };

  const end = () => {
    drag?.svg.querySelector("[data-brush-box]")?.setAttribute("width", "0");
    drag = null;
  };

  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("[data-brush]");
    if (!svg || event.button !== 0 || event.pointerType === "touch") return;
    drag = { svg, x: event.clientX, from: findBar(svg, event.clientX)[0], moved: false };
  });

  // A link would be dragged away instead.
  document.addEventListener("dragstart", (event) => {
    if (event.target.closest?.("[data-brush]")) event.preventDefault();
  });

  document.addEventListener("pointermove", (event) => {
    if (!drag || (!drag.moved && Math.abs(event.clientX - drag.x) < LEAST)) return;
    drag.moved = true;
    const [to, bars] = findBar(drag.svg, event.clientX);
    show(drag.svg, Math.min(drag.from, to), Math.max(drag.from, to), bars.length);
  });

  document.addEventListener("pointerup", (event) => {
    if (!drag?.moved) return end();
    const { svg, from } = drag;
    const [to, bars] = findBar(svg, event.clientX);
    const [first, last] = [bars[Math.min(from, to)], bars[Math.max(from, to)]];
    end();
    // The bar's own filters, up to the end of the last one.
    const target = new URL(first.href.baseVal, location.href);
    const until = new URL(last.href.baseVal, location.href).searchParams.get("finished_before");
    target.searchParams.set("finished_before", until);
    svg.dataset.brushed = "";
    location.assign(target);
  });

  document.addEventListener("click", (event) => {
    const svg = event.target.closest?.("[data-brush]");
    if (svg && "brushed" in svg.dataset) {
      delete svg.dataset.brushed;
      event.preventDefault();
    }
  }, true);

  document.addEventListener("keydown", (event) => event.key === "Escape" && end());
})();
