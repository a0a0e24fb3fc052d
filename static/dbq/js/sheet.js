// [data-sheet] links open what they lead to over the page, in the dialog #sheet; [data-close] closes it.
(() => {
  document.addEventListener("click", (event) => {
    const closer = event.target.closest?.("[data-close]");
    const dialog = closer?.closest("dialog");
    if (dialog) {
      event.preventDefault();
      dialog.close();
      return;
    }
    const link = event.target.closest?.("a[data-sheet]");
    const sheet = document.getElementById("sheet");
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!link || !sheet || !window.htmx || !isPlain) return;
    event.preventDefault();
    link.closest("details.menu")?.removeAttribute("open");
    const body = document.getElementById("sheet-body");
    body.replaceChildren();
    htmx.ajax("GET", link.href, { target: body, swap: "innerHTML" }).then(() => {
      if (body.childElementCount && !sheet.open) sheet.showModal();
    });
  });
})();
