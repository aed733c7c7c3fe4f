// Search results show their context where a server answers; files opened from a folder cannot be fetched.
if (typeof DOCUMENTATION_OPTIONS !== "undefined" && location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Draws the Bokeh pictures of a page when they come near the screen, or all before it is printed; they are transparent, so both themes fit.
document.addEventListener("DOMContentLoaded", () => {
  const draw = (place) => {
    const item = JSON.parse(place.querySelector("script").textContent);
    place.id = item.target_id = `mk-plot-${Math.random().toString(36).slice(2)}`;
    Bokeh.embed.embed_item(item).then(() => { place.dataset.drawn = "yes"; }, () => { place.dataset.failed = "yes"; });
  };
  const places = [...document.querySelectorAll(".mk-plot")];
  const near = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => {
    near.unobserve(one.target);
    draw(one.target);
  }), { rootMargin: "400px" });
  places.forEach((place) => near.observe(place));
  window.addEventListener("beforeprint", () => places.filter((place) => !place.id).forEach((place) => {
    near.unobserve(place);
    draw(place);
  }));
});
