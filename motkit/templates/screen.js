// What only the browser knows: its address, its width, and whether the reader prefers dark. It draws nothing.

const kept = ["theme"]; // parts of the address that are not the app's

export function render({ model }) {
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
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  model.send_msg({ dark, width_px: window.innerWidth });
  return document.createElement("div");
}
