// What scripts add to pages that work without them: keys, copying, relative times, plots, the live list, the theme at
// once. Text of strangers becomes HTML nowhere but in rows that the server has escaped.
"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);

  // Keys. `j` and `k` move a mark through the rows of the first list in view, or of the one that has it.
  const rowsOf = (row) => all("tr", row.closest("tbody"));
  const mark = (row) => {
    all("tr.here").forEach((each) => each.classList.remove("here"));
    row.classList.add("here");
    const link = one("a.open, a", row);
    if (link) link.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const move = (by) => {
    const here = one("tr.here") || document.activeElement.closest("tbody.rows tr");
    if (!here) return one("tbody.rows tr") && mark(one("tbody.rows tr"));
    const rows = rowsOf(here);
    const next = rows[rows.indexOf(here) + by];
    if (next) mark(next);
  };
  const follow = (selector) => {
    const here = one("tr.here") || document;
    const link = one(selector, here);
    if (link) link.click();
  };
  const keys = {
    "/": () => one("#search") && (one("#search").focus(), one("#search").select()),
    j: () => move(1),
    k: () => move(-1),
    w: () => follow("a.why"),
    "?": () => one("#keys")?.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && event.target.id === "search") event.target.blur();
    if (event.target.closest("input, textarea, select, dialog") || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("tbody.rows tr");
    all("tr.here").forEach((each) => each !== row && each.classList.remove("here"));
    if (row) row.classList.add("here");
  });
  const keysButton = one("#keys-button");
  if (keysButton) {
    keysButton.hidden = false;
    keysButton.addEventListener("click", keys["?"]);
  }

  // Copying.
  const addCopy = (code) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    code.after(button);
  };

  // Times that say how long ago stay true.
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const ago = (atS) => {
    const seconds = Date.now() / 1000 - atS;
    const [unit, sizeS] = units.find(([, size]) => Math.abs(seconds) >= 2 * size) || ["s", 1];
    const text = `${Math.floor(Math.abs(seconds) / sizeS)} ${unit}`;
    return seconds >= 0 ? `${text} ago` : `in ${text}`;
  };
  const tick = () => all("time[data-at]").forEach((each) => { each.textContent = ago(Number(each.dataset.at)); });
  setInterval(tick, 10000);

  // Plots. uPlot draws on a canvas, so colours are read from the style sheet, and again when the theme changes.
  const colour = (kind) => {
    const probe = document.createElement("span");
    probe.className = `ink ${kind}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const draw = (place) => {
    const plot = JSON.parse(place.dataset.plot);
    place.replaceChildren();
    place.hidden = false;
    // Times are UTC, as everywhere; midnight says the day.
    const two = (number) => String(number).padStart(2, "0");
    const clock = (atS) => {
      const at = new Date(atS * 1000);
      const hours = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
      return hours === "00:00" ? `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}` : hours;
    };
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 }, font: "12px system-ui, sans-serif" };
    // A value between two that are unknown is no line, so it is a point.
    const alone = (drawn, series) => {
      const values = drawn.data[series];
      return values.flatMap((each, at) => each != null && values[at - 1] == null && values[at + 1] == null ? [at] : []);
    };
    const dashes = [[], [8, 4], [2, 3], [8, 3, 2, 3]];
    const series = plot.lines.map((line, number) => ({ label: line.name, stroke: colour(line.kind || ""), width: 1.5, dash: dashes[number], points: { show: true, size: 5, filter: alone } }));
    const options = {
      width: place.clientWidth,
      height: 200,
      tzDate: (atS) => uPlot.tzDate(new Date(atS * 1000), "Etc/UTC"),
      series: [{ label: "UTC", value: (_, atS) => atS ? new Date(atS * 1000).toISOString().slice(0, 16).replace("T", " ") : "time" }, ...series],
      axes: [{ ...axis, values: (_, marks) => marks.map(clock) }, { ...axis, size: 64, label: plot.unit, labelSize: 18, labelFont: axis.font, values: (_, marks) => marks.map((each) => each.toLocaleString("en")) }],
      scales: { y: { range: (_, least, most) => [Math.min(0, least || 0), most > 0 ? most * 1.05 : 1] } },
      cursor: { drag: { x: false, y: false } },
    };
    return new uPlot(options, [plot.x, ...plot.lines.map((line) => line.values)], place);
  };
  const drawAll = () => all("[data-plot]").forEach(draw);
  let drawing = 0;
  const drawSoon = () => { clearTimeout(drawing); drawing = setTimeout(drawAll, 100); };
  addEventListener("resize", drawSoon);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);

  // The live list: rows come at the top, but not while the pointer or the focus is in the list, or after Pause.
  const listen = (list) => {
    const after = list.closest(".scroll").nextElementSibling;
    const button = one(".pause", after);
    const state = one(".live-state", after);
    const most = Number(list.dataset.most);
    let waiting = [];
    let isPaused = false;
    const isStill = () => isPaused || list.matches(":hover") || list.contains(document.activeElement);
    const say = () => { state.textContent = waiting.length ? `${waiting.length} new${waiting.length >= most ? " or more" : ""}, shown when the list moves on` : ""; };
    const show = () => {
      if (waiting.length && !isStill()) {
        list.prepend(...waiting);
        waiting = [];
        all(":scope > tr", list).slice(most).forEach((row) => row.remove());
        tick();
      }
      say();
    };
    const take = (event) => {
      const holder = document.createElement("template");
      holder.innerHTML = event.data;
      const rows = all("tr", holder.content);
      rows.forEach((row) => row.classList.add("is-new"));
      setTimeout(() => rows.forEach((row) => row.classList.remove("is-new")), 3000);
      waiting = [...rows, ...waiting].slice(0, most);
      show();
    };
    const source = new EventSource(list.dataset.live);
    source.addEventListener("message", take);
    source.addEventListener("note", (event) => { state.textContent = event.data; });
    source.addEventListener("open", say);
    source.addEventListener("error", () => { state.textContent = "The live list is interrupted; it goes on when the console answers."; });
    list.addEventListener("pointerleave", () => setTimeout(show));
    list.addEventListener("focusout", () => setTimeout(show));
    button.hidden = false;
    button.addEventListener("click", () => {
      isPaused = !isPaused;
      button.textContent = isPaused ? "Go on" : "Pause";
      show();
    });
    addEventListener("pagehide", () => source.close());
  };

  const enhance = (within) => {
    all("[data-copy]", within).forEach((code) => { if (!code.nextElementSibling?.matches(".copy")) addCopy(code); });
    all("[data-plot]", within).forEach(draw);
    all("[data-live]", within).forEach(listen);
  };
  enhance(document);
  document.addEventListener("htmx:after:swap", () => {
    all("[data-copy]").forEach((code) => { if (!code.nextElementSibling?.matches(".copy")) addCopy(code); });
    all("[data-plot][hidden]").forEach(draw);
  });

  // On a narrow screen the list of pages scrolls sideways: the one that is shown is in view.
  const current = one(".frame nav [aria-current]");
  if (current) current.closest("nav").scrollLeft = current.offsetLeft - 16;

  // The account's menu closes by Escape and by a click elsewhere.
  const menu = one("details.account");
  if (menu) {
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; one("summary", menu).focus(); } });
  }
})();
