// [data-open="id"] opens that dialog, or discloses that details; menus close on a click elsewhere and on Escape.
(() => {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-open]");
    if (opener) {
      const target = document.getElementById(opener.dataset.open);
      opener.closest("details.menu")?.removeAttribute("open");
      if (target?.matches("dialog")) target.showModal();
      else target?.setAttribute("open", "");
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.removeAttribute("open");
    }
    // A click on the backdrop lands on the dialog itself.
    if (event.target.matches?.("dialog")) event.target.close();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.menu[open]");
    menu?.removeAttribute("open");
    menu?.querySelector("summary")?.focus();
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const opener of document.querySelectorAll("[data-open][hidden]")) opener.hidden = false;
  });
})();
