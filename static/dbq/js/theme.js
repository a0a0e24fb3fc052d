// Changes the theme at once; the form's own post keeps it where there is no script.
(() => {
  const YEAR = 365 * 24 * 3600;

  const choose = (theme) => {
    document.documentElement.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `dbq_theme=${theme}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
    for (const button of document.querySelectorAll("[data-theme-form] button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  };

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-theme-form]")) return;
    event.preventDefault();
    choose(event.submitter.value);
  });
  document.addEventListener("dbq:toggle-theme", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (document.documentElement.dataset.theme === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
    choose(isDark ? "light" : "dark");
  });
})();
