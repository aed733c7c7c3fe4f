// One view of a study on a page: its words, its picture, its numbers, and what can be taken away.

const make = (tag, className = "", text = "") => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
};

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

const isModel = (value) => value !== null && typeof value === "object" && typeof value.setv === "function" && "id" in value;

const hasModels = (value) =>
  isModel(value) || (Array.isArray(value) && value.some(hasModels)) || (value instanceof Map && [...value.values()].some(hasModels));

const parts = (value) => (value instanceof Map ? [...value.values()] : value);

// What differs between two pictures of the same parts, as [model, property, value]; null when the parts differ.
function differences(old, fresh, found = [], seen = new Set()) {
  if (isModel(old) !== isModel(fresh)) return null;
  if (!isModel(old)) {
    const [mine, its] = [parts(old), parts(fresh)];
    if (!Array.isArray(mine) || !Array.isArray(its) || mine.length !== its.length) return null;
    return mine.every((part, place) => differences(part, its[place], found, seen)) ? found : null;
  }
  if (old.type !== fresh.type) return null;
  if (seen.has(fresh)) return found;
  seen.add(fresh);
  for (const property of fresh) {
    const name = property.attr;
    if (!property.syncable || property.readonly || property.is_unset || ["document", "tags", "js_property_callbacks", "subscribed_events"].includes(name)) continue;
    const [mine, its] = [old[name], fresh[name]];
    if (hasModels(mine) || hasModels(its)) {
      if (!differences(mine, its, found, seen)) return null;
    } else if (mine !== its && (fresh.type === "ColumnDataSource" || written(mine) !== written(its))) {
      found.push([old, name, its]);
    }
  }
  return found;
}

const written = (value) => JSON.stringify(value, (key, item) => (item instanceof Map ? [...item] : item));

// What is in sight is drawn at once; the rest one after the other, when the browser has nothing else to do.
let rest = Promise.resolve();
const idle = () => new Promise((done) => (window.requestIdleCallback ?? setTimeout)(done, { timeout: 300 }));

function inSight(node) {
  if (!node.checkVisibility()) return false;
  const box = node.getBoundingClientRect();
  return box.top < window.innerHeight && box.bottom > 0;
}

async function myTurn(node) {
  if (!inSight(node)) await (rest = rest.then(idle));
}

// Grey that can be read on white is too dark on black, so pictures are brighter there.
const cards = new Set();
const shade = () => {
  const dark = getComputedStyle(document.body).backgroundColor === "rgb(18, 18, 18)";
  for (const card of cards) card.classList.toggle("dark", dark);
};
new MutationObserver(() => setTimeout(shade, 120)).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });

// The keyboard stops at what can be done; a picture is told by its name, and nothing can be done with its canvas alone.
function skipFocus(root) {
  for (const node of root.querySelectorAll("*")) {
    if (node.tabIndex === 0 && node.tagName === "DIV") node.tabIndex = -1;
    if (node.shadowRoot) skipFocus(node.shadowRoot);
  }
}

// A picture of Bokeh, drawn beside the old one and put in its place when it is ready, so that nothing flickers.
class Picture {
  constructor(onPick) {
    this.node = make("div", "picture");
    this.turn = 0;
    this.views = null;
    this.onPick = onPick;
  }

  async show(text, name, column) {
    const turn = ++this.turn;
    if (!text || text.startsWith("<")) {
      this.clear();
      this.node.innerHTML = text;
      return;
    }
    for (let tries = 0; !this.node.isConnected && tries < 400; tries++) await pause(15);
    if (!this.node.isConnected || turn !== this.turn) return;
    if (this.renew(JSON.parse(text))) {
      this.node.dataset.drawn = name;
      this.node.dataset.turn = turn;
      return;
    }
    await myTurn(this.node);
    if (turn !== this.turn || !this.node.isConnected) return;
    const place = make("div", "place");
    this.node.append(place);
    const views = await this.draw(JSON.parse(text), place);
    if (turn !== this.turn) {
      views?.clear();
      place.remove();
      return;
    }
    if (!views) return this.show(text, name, column);
    this.clear(place);
    this.views = views;
    skipFocus(place);
    const broad = this.node.scrollWidth > this.node.clientWidth; // for a phone: it shows that it goes on, and keys move it
    this.node.classList.toggle("motkit-scroll", broad);
    if (broad) this.node.tabIndex = 0;
    else this.node.removeAttribute("tabindex");
    this.node.dataset.drawn = name;
    this.node.dataset.turn = turn;
    if (column) this.listen(column);
  }

  // Bokeh looks a moment later whether the place is on the page; null when something took it away in the meantime.
  async draw(item, place) {
    try {
      return await window.Bokeh.embed.embed_item(item, place);
    } catch (error) {
      if (place.isConnected) throw error;
      return null;
    }
  }

  // New numbers in the old picture, where both have the same parts.
  renew(item) {
    const old = this.views?.roots[0].model;
    if (!old?.document) return false;
    const fresh = old.document.constructor.from_json(item.doc).roots()[0];
    const found = differences(old, fresh);
    if (!found) return false;
    const changes = new Map();
    for (const [model, name, value] of found) changes.set(model, { ...changes.get(model), [name]: value });
    for (const [model, values] of changes) model.setv(values);
    for (const model of old.references()) if (model.type === "Legend") model.change.emit();
    return true;
  }

  clear(keep = null) {
    if (this.views) this.views.clear();
    this.views = null;
    delete this.node.dataset.drawn;
    for (const old of [...this.node.children]) if (old !== keep) old.remove();
  }

  // The section is gone: what is still being drawn for it comes too late.
  leave() {
    this.turn++;
    this.clear();
  }

  // What was clicked: the value of a column in the source of the bar or point.
  listen(column) {
    for (const root of this.views.roots) {
      for (const renderer of root.model.renderers ?? []) {
        const source = renderer.data_source;
        if (!source || !(column in source.data)) continue;
        source.selected.properties.indices.change.connect(() => {
          const [picked] = source.selected.indices;
          if (picked !== undefined) this.onPick(String(source.data[column][picked]));
        });
      }
    }
  }

  async save(kind) {
    const layer = this.views.roots[0].export(kind === "svg" ? "svg" : "png", true);
    const blob = await layer.to_blob();
    return kind === "svg" ? blob : asSeen(blob, getComputedStyle(this.node).filter);
  }
}

// A picture is transparent on the page and changed in the dark; alone it needs the page's background and the same change.
async function asSeen(blob, filter) {
  const bitmap = await createImageBitmap(blob);
  const canvas = make("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const brush = canvas.getContext("2d");
  brush.fillStyle = getComputedStyle(document.body).backgroundColor;
  brush.fillRect(0, 0, canvas.width, canvas.height);
  brush.filter = filter;
  brush.drawImage(bitmap, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function offer(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function fromBase64(file) {
  const bytes = Uint8Array.from(atob(file.base64), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: file.mime });
}

function fold(label, ...inside) {
  const details = make("details");
  details.append(make("summary", "", label), ...inside);
  return details;
}

export function render({ model }) {
  const section = make("section", "view");
  const title = make("h2");
  const words = make("p");
  const footing = make("p", "motkit-footing");
  const table = make("div", "motkit-scroll");
  const numbers = fold("Numbers", table);
  const code = make("pre", "code");
  const said = make("span", "said");
  said.setAttribute("role", "status");
  words.setAttribute("aria-live", "polite");
  table.tabIndex = 0;

  const button = (label, act, hint) => {
    const node = make("button", "", label);
    node.type = "button";
    node.setAttribute("aria-label", hint);
    node.title = hint;
    node.addEventListener("click", act);
    return node;
  };
  const ask = (want) => () => model.send_msg({ want });
  const save = (kind) => async () => offer(await picture.save(kind), `${model.shown.name}.${kind}`);
  const copy = async () => {
    code.hidden = false;
    if (navigator.clipboard) await navigator.clipboard.writeText(model.shown.code).catch(() => {});
    said.textContent = navigator.clipboard ? "Copied." : "Copy the lines below.";
    setTimeout(() => (said.textContent = ""), 3000);
  };
  const csv = button("CSV", ask("csv"), "Save the table as CSV");
  const parquet = button("Parquet", ask("parquet"), "Save the table as Parquet");
  const png = button("PNG", save("png"), "Save the picture as PNG");
  const svg = button("SVG", save("svg"), "Save the picture as SVG");
  const tools = make("div", "tools");
  tools.append(csv, parquet, png, svg, button("Copy as code", copy, "Copy the call that makes this view in a notebook"), said);
  const keep = fold("Save and copy", tools, code);

  const groups = make("select");
  groups.setAttribute("aria-label", "Group");
  const customers = make("div", "motkit-scroll customers");
  const show = (group) => model.send_msg({ want: "customers", group });
  const who = fold("Customers", groups, button("Show", () => show(groups.value), "Show the customers of this group"), customers);
  const picture = new Picture((group) => {
    who.open = true;
    groups.value = group;
    show(group);
  });

  // Another page tells more: the menu, which stands elsewhere, opens it.
  const further = make("a", "further");
  further.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    window.dispatchEvent(new CustomEvent("motkit-open", { detail: model.shown.more[0] }));
  });

  const more = make("div", "more");
  more.append(numbers, keep, who, further);
  section.append(title, words, picture.node, footing, more);

  const update = () => {
    const shown = model.shown;
    title.textContent = shown.title;
    words.textContent = shown.empty || shown.sentence;
    words.className = shown.empty ? "motkit-empty" : "sentence";
    footing.textContent = shown.footing;
    table.innerHTML = shown.table;
    table.setAttribute("aria-label", `Numbers of ${shown.title}`);
    code.textContent = shown.code;
    code.hidden = true;
    numbers.hidden = footing.hidden = keep.hidden = Boolean(shown.empty);
    if (!shown.picture) numbers.open = true;
    section.classList.toggle("plain", !shown.picture);
    who.hidden = !shown.groups.length;
    const [page, heading] = shown.more;
    further.hidden = !page;
    further.textContent = page ? `More: ${heading}` : "";
    const query = new URLSearchParams(window.location.search);
    query.set("page", page ?? "");
    further.href = `?${query}`;
    groups.replaceChildren(...shown.groups.map(([value, label]) => new Option(label, value)));
    customers.replaceChildren();
    png.hidden = svg.hidden = !shown.picture.startsWith("{");
    picture.node.style.minHeight = shown.picture ? `${shown.height}px` : "0";
    if (shown.picture.startsWith("{")) {
      picture.node.setAttribute("role", "img");
      picture.node.setAttribute("aria-label", `${shown.title}. ${shown.sentence}`);
    } else {
      for (const name of ["role", "aria-label"]) picture.node.removeAttribute(name); // words and tables are read as they stand
    }
    picture.show(shown.picture, shown.name, shown.column);
  };
  model.on("shown", update);
  model.on("msg:custom", (told) => {
    if (told.file) offer(fromBase64(told.file), told.file.name);
    if (told.customers) customers.innerHTML = told.customers;
  });
  model.on("remove", () => {
    cards.delete(section);
    picture.leave();
  });
  cards.add(section);
  shade();
  update();
  return section;
}
