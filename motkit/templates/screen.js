// What only the browser knows: its address, its width, and whether the reader prefers dark. It draws nothing.

const kept = ["theme"]; // parts of the address that are not the app's
const WIDE_PX = 900;

// The frame turns dark and unfolds its menu here, without asking the server first.
function fit(page, dark) {
  for (const root of page?.roots() ?? []) {
    if (!root.data || !("sidebar_open" in root.data.attributes)) continue;
    if (dark) root.data.dark_theme = true;
    if (window.innerWidth >= WIDE_PX && root.data.sidebar?.length) root.data.sidebar_open = true;
  }
}

// What the frame and its lists tell a screen reader wrongly or not at all.
function amend(root) {
  for (const bar of root.querySelectorAll('[role="progressbar"]:not([aria-label])')) bar.setAttribute("aria-label", "Work of the server");
  for (const edge of root.querySelectorAll('div[aria-label="Resize sidebar"]:not([role])')) {
    edge.setAttribute("role", "separator");
    edge.setAttribute("aria-orientation", "vertical");
  }
  for (const head of root.querySelectorAll("h5")) if (!head.textContent.trim()) head.setAttribute("role", "presentation");
  for (const name of root.querySelectorAll("header h3")) name.setAttribute("role", "presentation"); // the page's own title is the first heading
  for (const item of root.querySelectorAll('[role="listbox"] [role="menuitem"], [role="listbox"] [role="option"]')) {
    if (item.getAttribute("role") !== "option") item.setAttribute("role", "option");
    const picked = String(item.classList.contains("Mui-selected"));
    if (item.getAttribute("aria-selected") !== picked) item.setAttribute("aria-selected", picked);
  }
}

const watched = new WeakSet();

function amendAll(root = document) {
  amend(root);
  if (!watched.has(root)) {
    watched.add(root);
    new MutationObserver(() => amendAll(root)).observe(root === document ? document.body : root, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
  }
  for (const host of root.querySelectorAll(".bk-panel-models-esm-ReactComponent, .bk-panel-models-layout-Column")) {
    if (host.shadowRoot && !watched.has(host.shadowRoot)) amendAll(host.shadowRoot);
  }
}

// The lists of choices of the frame open by mouse only; keys open them too, the space bar when it comes up, or it would choose the first item.
const OPENING = ["Enter", " ", "ArrowDown", "ArrowUp"];

function openByKey(event) {
  const node = event.composedPath()[0];
  if (!OPENING.includes(event.key) || !node.matches?.('div[role="combobox"][aria-haspopup="listbox"][aria-expanded="false"]')) return;
  event.preventDefault();
  if (event.type === (event.key === " " ? "keyup" : "keydown")) node.click();
}

// The static shell goes when the app is drawn, in the dark if the reader prefers it.
async function uncover(dark) {
  const shell = document.getElementById("shell");
  const ready = () => !dark || isDark(document.body);
  for (let tries = 0; shell && tries < 25 && !ready(); tries++) await new Promise((done) => setTimeout(done, 20));
  requestAnimationFrame(() => requestAnimationFrame(() => shell && (shell.dataset.done = "1", shell.classList.add("gone"))));
}

const isDark = (node) => getComputedStyle(node).backgroundColor === "rgb(18, 18, 18)";

const TRY_MS = 2000; // between two questions whether the server answers
const SILENT_MS = 8000; // after which an answer is not awaited any more
const ASLEEP_MS = 90000; // without a tick: the machine slept, and the line may be dead without knowing it
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function answers() {
  try {
    return (await fetch("./liveness", { cache: "no-store", signal: AbortSignal.timeout(SILENT_MS) })).status < 500;
  } catch {
    return false;
  }
}

// A lost line is said in words; once the server answers, the page is loaded anew: its address holds every choice.
function watchLine(model, page) {
  if (!page || window.motkitWatches) return;
  window.motkitWatches = true;
  const bar = document.getElementById("lost");
  let [gone, heard, tick] = [false, true, Date.now()];
  const lost = async () => {
    if (gone || !bar) return;
    gone = true;
    bar.hidden = false;
    while (!(await answers())) await pause(TRY_MS);
    window.location.reload();
  };
  const ask = async () => {
    heard = false;
    model.send_msg({ alive: true });
    await pause(SILENT_MS);
    if (!heard) lost();
  };
  model.on("msg:custom", (message) => (heard = heard || Boolean(message?.alive ?? message?.data?.alive)));
  page.on_event("connection_lost", lost);
  window.addEventListener("online", ask);
  setInterval(() => {
    if (Date.now() - tick > ASLEEP_MS) ask();
    tick = Date.now();
  }, 5000);
}

export function render({ model, view }) {
  const withKept = (query) => {
    const [now, next] = [new URLSearchParams(window.location.search), new URLSearchParams(query)];
    for (const name of kept) if (now.has(name)) next.set(name, now.get(name));
    return `?${next}`;
  };
  const back = () => model.send_msg({ address: window.location.search });
  window.addEventListener("popstate", back);
  model.on("remove", () => window.removeEventListener("popstate", back));
  model.on("query", () => {
    const next = withKept(model.query);
    const bare = `?${new URLSearchParams(window.location.search)}`;
    if (next !== bare) window.history.pushState({}, "", next);
  });
  model.on("heading", () => {
    document.title = model.heading;
    document.querySelector(".main-content")?.scrollTo(0, 0);
  });
  document.title = model.heading || document.title;
  watchLine(model, view.model.document);
  amendAll();
  for (const kind of ["keydown", "keyup"]) document.addEventListener(kind, openByKey);
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  fit(view.model.document, dark && !new URLSearchParams(window.location.search).has("theme"));
  model.send_msg({ dark, width_px: window.innerWidth });
  uncover(dark && !new URLSearchParams(window.location.search).has("theme"));
  return document.createElement("div");
}
