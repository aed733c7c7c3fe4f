// The menu of pages: links with real addresses, opened in place.

export function render({ model }) {
  const nav = document.createElement("nav");
  nav.setAttribute("aria-label", "Pages");
  const list = document.createElement("ul");
  nav.append(list);

  const address = (page) => {
    const query = new URLSearchParams(model.query);
    query.set("page", page);
    return `?${query}`;
  };
  const entry = ([name, title]) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.textContent = title;
    link.href = address(name);
    if (name === model.page) link.setAttribute("aria-current", "page");
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      model.page = name;
      model.send_msg({ open: name, width_px: window.innerWidth });
    });
    item.append(link);
    return item;
  };
  const open = (event) => {
    model.page = event.detail;
    model.send_msg({ open: event.detail, width_px: window.innerWidth });
  };
  window.addEventListener("motkit-open", open);
  model.on("remove", () => window.removeEventListener("motkit-open", open));
  const draw = () => list.replaceChildren(...model.pages.map(entry));
  model.on(["pages", "page", "query"], draw);
  draw();
  return nav;
}
