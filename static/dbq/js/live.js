// One clock for the page. Each tick is a "dbq:tick" event on the body; live parts fetch themselves on it.
// The clock rests while the tab is hidden, rows are ticked, a field is in use or a dialog is open.
(() => {
  const YEAR = 365 * 24 * 3600;
  const SLOWEST = 60;
  const FIELDS = "input:not([type=checkbox], [type=radio], [type=button], [type=submit]), textarea, select:not([data-no-rest])";
  let root, timer, seconds, isOn, failures = 0;

  const reasons = {
    hidden: () => document.visibilityState === "hidden",
    dialog: () => document.querySelector("dialog[open]:not([data-help])") !== null,
    ticked: () => document.querySelector("[data-tick]:checked") !== null,
    field: () => document.activeElement?.matches(FIELDS) && !root.contains(document.activeElement),
  };
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  // From when the page is: when its oldest part was asked for, by the reader's clock.
  let updated = performance.timeOrigin, asked = updated, isSpoiled = false;
  const awaited = new Set();
  let isLeaving = false;

  const findReason = () => Object.keys(reasons).find((name) => reasons[name]());

  const show = () => {
    const reason = isOn ? findReason() : "off";
    const mode = reason === "off" ? "off" : reason ? "waiting" : failures ? "lost" : "on";
    const word = reason ?? (failures ? "lost" : "on");
    const text = root.getAttribute(`data-text-${word}`);
    root.dataset.mode = mode;
    root.querySelector("[data-live-switch]").setAttribute("aria-pressed", String(isOn));
    const label = root.querySelector("[data-live-text]");
    if (label.textContent !== text) label.textContent = text;
    showUpdated();
  };

  const showUpdated = () => {
    const element = document.querySelector("[data-updated]");
    const moment = new Date(updated);
    const isToday = moment.toDateString() === new Date().toDateString();
    const text = isToday ? clock.format(moment) : `${day.format(moment)} ${clock.format(moment)}`;
    if (element.textContent !== text) element.textContent = text;
    element.dateTime = moment.toISOString();
  };

  // One answer that fails, or is not swapped in, leaves a part of the page as old as it was.
  const noteAsked = (request) => {
    if (!awaited.size) [asked, isSpoiled] = [Date.now(), false];
    awaited.add(request);
  };

  const noteAnswered = (request, isShown) => {
    if (!awaited.delete(request)) return;
    isSpoiled ||= !isShown;
    if (!awaited.size && !isSpoiled) updated = asked;
  };

  // After a logout each part is led to the login page; a second lead would break off the way of the first.
  const followOnce = (event) => {
    if (!event.detail.xhr.getResponseHeader("HX-Redirect")) return;
    if (isLeaving) event.preventDefault();
    isLeaving = true;
  };

  const tick = () => {
    if (isOn && !findReason()) document.body.dispatchEvent(new CustomEvent("dbq:tick"));
    show();
    schedule();
  };

  const schedule = () => {
    clearTimeout(timer);
    // Slower after each failure, and never all browsers at once.
    const pace = document.querySelector("[data-fast]") ? Math.min(1, seconds) : seconds;
    const wait = Math.min(SLOWEST, pace * 2 ** failures) * (0.9 + Math.random() * 0.2);
    timer = setTimeout(tick, wait * 1000);
  };

  const keep = () => {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `dbq_refresh=${isOn ? seconds : 0}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
  };

  const toggle = () => {
    isOn = !isOn;
    keep();
    if (isOn) tick();
    else show();
  };

  const isTick = (event) => event.detail.requestConfig?.triggeringEvent?.type === "dbq:tick";
  const isWhole = (event) => {
    const parts = document.querySelectorAll('[hx-trigger*="dbq:tick"]');
    return parts.length === 1 && parts[0].id === event.detail.target?.id;
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.cookie = `dbq_script=1; path=/; max-age=${YEAR}; samesite=lax`;
    root = document.querySelector("[data-live]");
    if (!root) return;
    root.hidden = false;
    const chosen = Number(root.dataset.seconds);
    isOn = chosen > 0;
    seconds = chosen || 5;
    root.querySelector("[data-live-switch]").addEventListener("click", toggle);
    root.querySelector("[data-live-seconds]").addEventListener("change", (event) => {
      seconds = Number(event.target.value);
      isOn = true;
      keep();
      schedule();
      show();
    });
    for (const name of ["change", "focusin", "focusout", "visibilitychange"]) {
      document.addEventListener(name, () => setTimeout(show));
    }
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") tick();
    });
    // What was asked for before a tick box or field was touched must not be swapped in after it.
    document.addEventListener("htmx:beforeSwap", (event) => {
      if (!isTick(event) || !findReason()) return;
      event.detail.shouldSwap = false;
      isSpoiled = true;
    });
    document.addEventListener("htmx:beforeOnLoad", followOnce);
    // Who came back, or stopped the way there and asks for something, is led again.
    window.addEventListener("pageshow", () => (isLeaving = false));
    document.addEventListener("htmx:beforeSend", (event) => {
      if (!isTick(event)) isLeaving = false;
      if (isTick(event) || isWhole(event)) noteAsked(event.detail.xhr);
    });
    document.addEventListener("htmx:afterRequest", (event) => {
      noteAnswered(event.detail.xhr, event.detail.successful);
      showUpdated();
      if (!isTick(event)) return;
      failures = event.detail.successful ? 0 : Math.min(failures + 1, 5);
      show();
    });
    document.addEventListener("dbq:toggle-live", toggle);
    show();
    schedule();
  });
})();
