// The editor of the page Change: numbers of lines with marks at mistakes, and names that may stand at the cursor.
// The page works without it. Ctrl-Space asks for names; arrows choose, Enter takes, Escape closes.
(() => {
  "use strict";
  const text = document.getElementById("text");
  const list = document.getElementById("names");
  const checked = document.getElementById("checked");
  if (!text) return;

  const gutter = document.createElement("pre");
  gutter.className = "gutter";
  gutter.setAttribute("aria-hidden", "true");
  text.before(gutter);

  function number() {
    const marked = new Set();
    for (const each of checked ? checked.querySelectorAll("[data-line]") : []) marked.add(Number(each.dataset.line));
    const lines = text.value.split("\n").length;
    let shown = "";
    for (let line = 1; line <= lines; line += 1) shown += `${marked.has(line) ? "! " : "  "}${line}\n`;
    gutter.textContent = shown;
    gutter.scrollTop = text.scrollTop;
  }
  text.addEventListener("input", number);
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  if (checked) new MutationObserver(number).observe(checked, { childList: true, subtree: true });
  number();
  if (!list) return;

  let found = null;
  let chosen = 0;
  let timer = 0;

  function close() {
    found = null;
    list.hidden = true;
    list.replaceChildren();
  }

  function show() {
    list.replaceChildren(...found.names.map((name, at) => {
      const row = document.createElement("li");
      row.textContent = name;
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(at === chosen));
      row.addEventListener("mousedown", (event) => { event.preventDefault(); take(at); });
      return row;
    }));
    list.hidden = false;
    list.children[chosen].scrollIntoView({ block: "nearest" });
  }

  function take(at) {
    text.setRangeText(found.names[at], found.begin, found.end, "end");
    close();
    text.dispatchEvent(new Event("input", { bubbles: true }));
    clearTimeout(timer);
  }

  async function ask(isWanted) {
    const at = text.selectionStart;
    const value = text.value;
    // Characters as the server counts them: one for each code point.
    const before = [...value.slice(0, at)].length;
    const body = new URLSearchParams({ token: text.form.elements.token.value, text: value, at: before });
    let answer;
    try {
      const response = await fetch("/change/names", { method: "POST", body, headers: { Accept: "application/json" } });
      if (!response.ok) return;
      answer = await response.json();
    } catch {
      return;
    }
    if (text.value !== value || text.selectionStart !== at) return;
    const isBegun = answer.end > answer.begin;
    if (!answer.names.length || !(isBegun || isWanted)) { close(); return; }
    found = { names: answer.names, begin: at - (answer.end - answer.begin), end: at };
    chosen = 0;
    show();
  }

  text.addEventListener("input", (event) => {
    close();
    clearTimeout(timer);
    if (event.inputType === "insertText" && text.value.length < 65536) timer = setTimeout(ask, 250, false);
  });
  text.addEventListener("blur", close);
  text.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); ask(true); return; }
    if (!found) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      chosen = (chosen + step + found.names.length) % found.names.length;
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(chosen);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
})();
