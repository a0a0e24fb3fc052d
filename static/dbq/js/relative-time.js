// Keeps "3 min ago" true between two refreshes, and shows the reader's own time on hover.
(() => {
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  // The server writes other languages; here only English is known.
  const isEnglish = document.documentElement.lang.startsWith("en");

  const describe = (moment) => {
    const distance = (Date.now() - moment) / 1000;
    const size = Math.abs(distance);
    if (size < 1) return "just now";
    const [unit, length] = UNITS.find(([, seconds]) => size >= seconds);
    const words = `${Math.floor(size / length)} ${unit}`;
    return distance > 0 ? `${words} ago` : `in ${words}`;
  };

  const update = () => {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const moment = Date.parse(element.dateTime);
      if (Number.isNaN(moment)) continue;
      const text = describe(moment);
      if (isEnglish && element.textContent !== text) element.textContent = text;
      element.title = `${local.format(moment)} (${element.dateTime})`;
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    update();
    setInterval(() => document.visibilityState === "visible" && update(), 1000);
    document.body.addEventListener("htmx:afterSwap", update);
  });
})();
