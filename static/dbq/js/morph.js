// Refreshed parts are patched in place; what the operator did to them stays.
(() => {
  const isOwnedByReader = (name, element) =>
    (name === "open" && (element.matches("details, dialog"))) ||
    (name === "checked" && element.matches("[data-tick], [data-tick-all]")) ||
    (name === "aria-current" && element.matches("[data-row]")) ||
    name === "data-kept";

  document.addEventListener("DOMContentLoaded", () => {
    if (!window.Idiomorph) return;
    Idiomorph.defaults.ignoreActiveValue = true;
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) =>
      !isOwnedByReader(name, element);
  });
})();
