// [data-copy] copies its value, or the text of the element that [data-copy-from] names, and says so.
(() => {
  const copy = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Plain-HTTP pages have no clipboard object.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    await copy(source ? source.textContent : button.dataset.copy);
    const announcer = document.getElementById("announcer");
    announcer.textContent = "";
    announcer.textContent = button.dataset.copied ?? "Copied.";
    button.setAttribute("data-done", "");
    setTimeout(() => button.removeAttribute("data-done"), 1500);
  });
})();
