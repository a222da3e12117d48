// What htmx does not do: the stream of changes, fields that show others, and where the focus goes.
"use strict";

// The server says what changed, never what it is now: whoever shows it asks for it. The browser connects again by itself
// and says the last id it heard, so nothing is missed.
const url = document.body.dataset.live;
if (url) {
  const source = new EventSource(url);
  const banner = document.getElementById("disconnected");
  source.onopen = () => { banner.hidden = true; };
  source.onerror = () => { banner.hidden = false; };
  source.addEventListener("changed", (event) => {
    for (const name of event.data.split(" ")) htmx.trigger(document.body, "live:" + name);
  });
  source.addEventListener("reset", () => htmx.trigger(document.body, "live"));
  addEventListener("pagehide", () => source.close());
}

document.body.addEventListener("change", (event) => {
  event.target.removeAttribute("aria-invalid");
  // What is being priced anew is no quote to cite.
  if (event.target.closest(".priced")) document.querySelector("#fee [name=quote_id]")?.remove();
  const group = event.target.dataset.shows;
  if (!group) return;
  for (const shown of document.querySelectorAll(`[data-shown^="${group}="]`)) {
    shown.hidden = shown.dataset.shown !== `${group}=${event.target.value}`;
  }
});

document.body.addEventListener("click", (event) => {
  const remove = event.target.closest("[data-remove]");
  if (remove) {
    const list = remove.closest(".datasets");
    remove.closest(".dataset").remove();
    htmx.trigger(list, "repriced");
  }
  const fault = event.target.closest("[data-field]");
  if (fault) {
    event.preventDefault();
    const field = document.getElementById(fault.dataset.field);
    const place = field?.closest("details") ?? field;
    if (place instanceof HTMLDetailsElement) place.open = true;
    field?.setAttribute("aria-invalid", "true");
    (field?.matches("input, select, textarea") ? field : field?.querySelector("input, select, button"))?.focus();
    field?.scrollIntoView({ block: "center" });
  }
});

// Faults and excerpts are what was asked for: the focus goes there. Nothing else may take it from whoever types.
document.body.addEventListener("htmx:afterSwap", (event) => {
  const target = event.detail.target;
  // Another model has other parameters, another validation set other samples: a fee asked for before is not this form's.
  const other = target.id === "choices" || target.id === "validation_set-list";
  if (other && event.detail.xhr.status < 400) htmx.trigger(target, "repriced");
  // What was brought in may be what was lacking.
  if (target.classList.contains("datasets")) {
    for (const card of document.querySelectorAll("#faults > *")) htmx.trigger(card, "brought");
  }
  if (target.id === "faults" || target.classList.contains("excerpt")) target.focus();
});

document.body.addEventListener("htmx:responseError", (event) => say(event.detail.xhr.status));
document.body.addEventListener("htmx:sendError", () => say("–"));

function say(status) {
  const notice = document.createElement("p");
  notice.className = "notice fault";
  notice.textContent = document.body.dataset.failed.replace("{status}", status);
  document.getElementById("notice").replaceChildren(notice);
}
